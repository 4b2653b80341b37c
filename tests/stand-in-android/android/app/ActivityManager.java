package android.app;

import android.content.ComponentName;
import java.util.ArrayList;
import java.util.List;
import org.sakshi.world.World;

public class ActivityManager {
    public static class RunningTaskInfo { public ComponentName topActivity; }

    public static class RunningAppProcessInfo {
        public String processName;
        public int pid;
        public int uid;
        public String[] pkgList;
    }

    public List<RunningTaskInfo> getRunningTasks(int max) {
        List<RunningTaskInfo> all = new ArrayList<>();
        for (String line : World.lines("foreground")) {
            RunningTaskInfo one = new RunningTaskInfo();
            one.topActivity = new ComponentName(line);
            all.add(one);
        }
        return all;
    }

    public List<RunningAppProcessInfo> getRunningAppProcesses() {
        List<RunningAppProcessInfo> all = new ArrayList<>();
        for (String line : World.lines("processes")) {
            String[] words = line.split(" ");
            RunningAppProcessInfo one = new RunningAppProcessInfo();
            one.uid = Integer.parseInt(words[0]);
            one.pid = Integer.parseInt(words[1]);
            one.processName = words[2];
            one.pkgList = words[3].split(",");
            all.add(one);
        }
        return all;
    }
}
