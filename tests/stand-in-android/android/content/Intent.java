package android.content;

import org.sakshi.world.World;

public class Intent {
    public static final String ACTION_BATTERY_CHANGED = "battery";

    public int getIntExtra(String name, int otherwise) {
        return Integer.parseInt(World.of("plugged"));
    }
}
