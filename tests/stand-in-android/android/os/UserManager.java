package android.os;

import java.util.ArrayList;
import java.util.List;
import org.sakshi.world.World;

public class UserManager {
    public static class UserInfo {
        public int id;
        public int flags;
    }

    /** Hidden in Android. */
    public List<UserInfo> getUsers() {
        List<UserInfo> all = new ArrayList<>();
        for (String line : World.lines("users")) {
            UserInfo one = new UserInfo();
            one.id = Integer.parseInt(line);
            one.flags = one.id == 0 ? 19 : 48;
            all.add(one);
        }
        return all;
    }
}
