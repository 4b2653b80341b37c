package android.content;

import android.app.ActivityManager;
import android.content.pm.PackageManager;
import android.net.ConnectivityManager;
import android.os.PowerManager;
import android.os.UserManager;
import org.sakshi.world.World;

public class Context {
    public static final String POWER_SERVICE = "power";
    public static final String ACTIVITY_SERVICE = "activity";
    public static final String CONNECTIVITY_SERVICE = "connectivity";
    public static final String USER_SERVICE = "user";

    public Object getSystemService(String name) {
        switch (name) {
            case POWER_SERVICE: return new PowerManager();
            case ACTIVITY_SERVICE: return new ActivityManager();
            case CONNECTIVITY_SERVICE: return new ConnectivityManager();
            case USER_SERVICE: return new UserManager();
            default: return null;
        }
    }

    public ContentResolver getContentResolver() { return new ContentResolver(); }

    public PackageManager getPackageManager() { return new PackageManager(); }

    public Intent registerReceiver(Object receiver, IntentFilter filter) {
        return World.of("plugged") == null ? null : new Intent();
    }
}
