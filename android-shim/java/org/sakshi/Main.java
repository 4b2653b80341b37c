package org.sakshi;

import android.app.ActivityManager;
import android.content.ContentResolver;
import android.content.Context;
import android.content.Intent;
import android.content.IntentFilter;
import android.content.pm.ApplicationInfo;
import android.content.pm.PackageInfo;
import android.content.pm.PackageManager;
import android.content.pm.Signature;
import android.net.ConnectivityManager;
import android.net.NetworkInfo;
import android.os.BatteryManager;
import android.os.Build;
import android.os.Looper;
import android.os.PowerManager;
import android.provider.Settings;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Tells the daemon what only Android knows. Started as root, without an APK:
 *
 * <pre>CLASSPATH=shim.jar app_process / org.sakshi.Main SOCKET-FOLDER LIBRARY</pre>
 *
 * It looks every few seconds and tells what has changed. What cannot be asked is told as unknown,
 * with why. It ends when no daemon listens any more. It changes nothing and sends nothing.
 */
public final class Main {
    private static final long PAUSE_MS = 5000;
    /** Looks without a daemon before it ends. */
    private static final int ALONE_MAX = 6;
    private static final int VALUE_MAX = 500;
    /** App ids of isolated processes; a user has 100,000 UIDs. */
    private static final int PER_USER = 100000;
    private static final int ISOLATED_FIRST = 90000;
    /** Looks after which an isolated process is told again: five minutes. */
    private static final int AGAIN = 60;

    private final String folder;
    private final Context context;
    private final Map<String, String> told = new HashMap<>();
    /** Isolated processes by UID and number, as they were told, and the look at which. */
    private final Map<String, String[]> isolated = new HashMap<>();
    private final Map<String, Integer> toldAt = new HashMap<>();
    private int looks;
    private int alone;

    private Main(String folder, Context context) {
        this.folder = folder;
        this.context = context;
    }

    public static void main(String[] words) throws Exception {
        if (words.length != 2) {
            System.err.println("usage: app_process / org.sakshi.Main SOCKET-FOLDER LIBRARY");
            System.exit(2);
        }
        System.load(words[1]);
        Looper.prepareMainLooper();
        Main shim = new Main(words[0], systemContext());
        shim.tell("shim", "version", Shim.version(), "sdk", "" + Build.VERSION.SDK_INT);
        while (shim.alone < ALONE_MAX) {
            shim.alone = Shim.listens(shim.folder) ? 0 : shim.alone + 1;
            shim.look();
            shim.looks++;
            Thread.sleep(PAUSE_MS);
        }
    }

    /** A context without an app: the one that Android's own server has. Hidden, so by its name. */
    private static Context systemContext() throws Exception {
        Class<?> type = Class.forName("android.app.ActivityThread");
        Object thread = type.getMethod("systemMain").invoke(null);
        return (Context) type.getMethod("getSystemContext").invoke(thread);
    }

    private interface Ask {
        String value() throws Exception;
    }

    private void look() {
        PowerManager power = (PowerManager) context.getSystemService(Context.POWER_SERVICE);
        changed("screen", () -> power.isInteractive() ? "on" : "off");
        changed("doze", () -> "" + power.isDeviceIdleMode());
        changed("battery_saver", () -> "" + power.isPowerSaveMode());
        changed("charging", this::charging);
        changed("foreground", this::foreground);
        changed("network", this::network);
        ContentResolver settings = context.getContentResolver();
        changed("private_dns", () -> Settings.Global.getString(settings, "private_dns_mode"));
        changed("location", () -> Settings.Secure.getString(settings, "location_mode"));
        changed("ad_id_limited", () -> Settings.Secure.getString(settings, "limit_ad_tracking"));
        isolated();
        changed("users", this::users);
        packages();
    }

    private String charging() {
        IntentFilter filter = new IntentFilter(Intent.ACTION_BATTERY_CHANGED);
        Intent battery = context.registerReceiver(null, filter);
        return battery == null ? null : "" + battery.getIntExtra(BatteryManager.EXTRA_PLUGGED, -1);
    }

    /** Who holds the UIDs that are in no file, from process to process. */
    private void isolated() {
        ActivityManager manager =
                (ActivityManager) context.getSystemService(Context.ACTIVITY_SERVICE);
        List<ActivityManager.RunningAppProcessInfo> all;
        try {
            all = manager.getRunningAppProcesses();
        } catch (RuntimeException error) {
            changed("isolated", () -> { throw error; });
            return;
        }
        if (all == null) {
            changed("isolated", () -> null);
            return;
        }
        Map<String, String[]> now = new HashMap<>();
        for (ActivityManager.RunningAppProcessInfo one : all) {
            if (one.uid % PER_USER >= ISOLATED_FIRST) {
                String packages = one.pkgList == null ? "" : String.join(" ", one.pkgList);
                now.put(one.uid + " " + one.pid, new String[] {
                    "happening", "seen",
                    "uid", "" + one.uid,
                    "pid", "" + one.pid,
                    "process", cut("" + one.processName),
                    "packages", cut(packages),
                });
            }
        }
        // Ends first: a UID may have been given on.
        for (String key : new ArrayList<>(isolated.keySet())) {
            if (!now.containsKey(key)) {
                String[] facts = isolated.get(key).clone();
                facts[1] = "gone";
                if (tell("isolated", facts)) {
                    isolated.remove(key);
                    toldAt.remove(key);
                }
            }
        }
        for (Map.Entry<String, String[]> one : now.entrySet()) {
            Integer at = toldAt.get(one.getKey());
            if ((at == null || looks - at >= AGAIN) && tell("isolated", one.getValue())) {
                isolated.put(one.getKey(), one.getValue());
                toldAt.put(one.getKey(), looks);
            }
        }
    }

    /** Android's users: their numbers and flags. Hidden, so by its name. */
    private String users() throws Exception {
        StringBuilder users = new StringBuilder();
        for (int[] user : numbers()) {
            users.append(users.length() == 0 ? "" : " ").append(user[0]).append(':').append(user[1]);
        }
        return users.toString();
    }

    private List<int[]> numbers() throws Exception {
        Object manager = context.getSystemService(Context.USER_SERVICE);
        List<int[]> users = new ArrayList<>();
        for (Object user : (List<?>) manager.getClass().getMethod("getUsers").invoke(manager)) {
            Class<?> type = user.getClass();
            users.add(new int[] {
                type.getField("id").getInt(user), type.getField("flags").getInt(user),
            });
        }
        return users;
    }

    /** What users but the first have installed, where Android lets it be asked. */
    private void packagesOfOthers(PackageManager manager, Map<String, String> seen)
            throws Exception {
        for (int[] user : numbers()) {
            if (user[0] == 0) {
                continue;
            }
            Object all = PackageManager.class
                    .getMethod("getInstalledPackagesAsUser", int.class, int.class)
                    .invoke(manager, 0, user[0]);
            for (Object found : (List<?>) all) {
                PackageInfo one = (PackageInfo) found;
                String key = "package." + one.packageName + " " + user[0];
                seen.put(one.packageName + " " + user[0], "");
                String[] facts = {
                    "package", one.packageName,
                    "user", "" + user[0],
                    "uid", "" + one.applicationInfo.uid,
                    "flags", "" + one.applicationInfo.flags,
                    "enabled", "" + one.applicationInfo.enabled,
                };
                toldOnce(key, facts);
            }
        }
    }

    @SuppressWarnings("deprecation")
    private String foreground() {
        ActivityManager manager =
                (ActivityManager) context.getSystemService(Context.ACTIVITY_SERVICE);
        List<ActivityManager.RunningTaskInfo> tasks = manager.getRunningTasks(1);
        return tasks.isEmpty() ? "none" : tasks.get(0).topActivity.flattenToShortString();
    }

    private String network() {
        ConnectivityManager manager =
                (ConnectivityManager) context.getSystemService(Context.CONNECTIVITY_SERVICE);
        NetworkInfo info = manager.getActiveNetworkInfo();
        return info == null ? "none" : info.getTypeName() + " " + info.getSubtypeName();
    }

    private void packages() {
        PackageManager manager = context.getPackageManager();
        Map<String, String> seen = new TreeMap<>();
        List<PackageInfo> all;
        try {
            all = manager.getInstalledPackages(PackageManager.GET_SIGNATURES);
        } catch (RuntimeException error) {
            changed("packages", () -> { throw error; });
            return;
        }
        for (PackageInfo one : all) {
            try {
                one(manager, one);
                seen.put(one.packageName, "");
            } catch (RuntimeException error) {
                changed("package." + one.packageName, () -> { throw error; });
            }
        }
        boolean whole = true;
        try {
            packagesOfOthers(manager, seen);
        } catch (Exception error) {
            whole = false;
            changed("packages_of_users", () -> { throw error; });
        }
        for (String key : new ArrayList<>(told.keySet())) {
            String name = key.startsWith("package.") ? key.substring(8) : null;
            boolean ofOther = name != null && name.indexOf(' ') >= 0;
            if (name == null || seen.containsKey(name) || (ofOther && !whole)) {
                continue;
            }
            String[] words = name.split(" ");
            String user = words.length > 1 ? words[1] : "0";
            if (tell("package", "package", words[0], "user", user, "happening", "removed")) {
                told.remove(key);
            }
        }
    }

    @SuppressWarnings("deprecation")
    private void one(PackageManager manager, PackageInfo one) {
        ApplicationInfo app = one.applicationInfo;
        StringBuilder signers = new StringBuilder();
        for (Signature signer : one.signatures == null ? new Signature[0] : one.signatures) {
            signers.append(signers.length() == 0 ? "" : " ");
            signers.append(Shim.sha256(signer.toByteArray()));
        }
        String installer = manager.getInstallerPackageName(one.packageName);
        String[] facts = {
            "package", one.packageName,
            "label", cut("" + app.loadLabel(manager)),
            "user", "" + app.uid / PER_USER,
            "uid", "" + app.uid,
            "flags", "" + app.flags,
            "enabled", "" + app.enabled,
            "version_code", "" + one.versionCode,
            "installer", installer == null ? "none" : installer,
            "signers_sha256", cut(signers.toString()),
        };
        toldOnce("package." + one.packageName, facts);
    }

    private void toldOnce(String key, String[] facts) {
        String now = String.join("\n", facts);
        if (!now.equals(told.get(key)) && tell("package", facts)) {
            told.put(key, now);
        }
    }

    /** Tells a value when it is another than the one that was told. */
    private void changed(String topic, Ask ask) {
        String name = "value";
        String value;
        try {
            value = ask.value();
            if (value == null) {
                name = "unknown";
                value = "not set";
            }
        } catch (Exception | LinkageError error) {
            name = "unknown";
            value = error.toString();
        }
        String now = name + " " + cut(value);
        String word = topic.startsWith("package.") ? "package" : topic;
        if (!now.equals(told.get(topic)) && tell(word, name, cut(value))) {
            told.put(topic, now);
        }
    }

    private boolean tell(String topic, String... facts) {
        String why = Shim.tell(folder, topic, facts);
        if (why != null) {
            System.err.println("sakshi shim: " + topic + ": " + why);
        }
        return why == null;
    }

    private static String cut(String text) {
        return text.length() <= VALUE_MAX ? text : text.substring(0, VALUE_MAX);
    }
}
