package android.content.pm;

import java.util.ArrayList;
import java.util.List;
import org.sakshi.world.World;

public class PackageManager {
    public static final int GET_SIGNATURES = 64;

    public List<PackageInfo> getInstalledPackages(int flags) { return packages(0); }

    /** Hidden in Android. */
    public List<PackageInfo> getInstalledPackagesAsUser(int flags, int user) {
        return packages(user);
    }

    public String getInstallerPackageName(String name) { return World.of("installer." + name); }

    private static List<PackageInfo> packages(int user) {
        List<PackageInfo> all = new ArrayList<>();
        for (String line : World.lines("packages." + user)) {
            String[] words = line.split(" ");
            PackageInfo one = new PackageInfo();
            one.packageName = words[0];
            one.versionCode = Integer.parseInt(words[2]);
            one.applicationInfo = new ApplicationInfo();
            one.applicationInfo.uid = Integer.parseInt(words[1]);
            one.applicationInfo.flags = 1;
            one.applicationInfo.enabled = !"off".equals(words[3]);
            one.applicationInfo.label = words[3];
            one.signatures = new Signature[] {new Signature()};
            all.add(one);
        }
        return all;
    }
}
