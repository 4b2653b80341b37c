package android.net;

import org.sakshi.world.World;

public class ConnectivityManager {
    public NetworkInfo getActiveNetworkInfo() {
        return World.of("network") == null ? null : new NetworkInfo();
    }
}
