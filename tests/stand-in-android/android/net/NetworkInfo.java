package android.net;

import org.sakshi.world.World;

public class NetworkInfo {
    public String getTypeName() { return World.of("network"); }

    public String getSubtypeName() { return ""; }
}
