package android.provider;

import android.content.ContentResolver;
import org.sakshi.world.World;

public class Settings {
    public static class Global {
        public static String getString(ContentResolver from, String name) {
            return World.of(name);
        }
    }

    public static class Secure {
        public static String getString(ContentResolver from, String name) {
            return World.of(name);
        }
    }
}
