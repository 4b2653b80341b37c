package android.os;

import org.sakshi.world.World;

public class PowerManager {
    public boolean isInteractive() { return "on".equals(World.of("screen")); }

    public boolean isDeviceIdleMode() { return "on".equals(World.of("doze")); }

    public boolean isPowerSaveMode() { return "on".equals(World.of("saver")); }
}
