package org.sakshi;

/** What the library libsakshi_android_shim.so does; see android-shim/src/lib.rs. */
public final class Shim {
    private Shim() {}

    /** Version of the library. */
    public static native String version();

    /** Tells the daemon whose socket is in the folder; null: on record, else why not. */
    public static native String tell(String folder, String topic, String[] namesAndValues);

    /** Whether a daemon listens on a socket in the folder. */
    public static native boolean listens(String folder);

    /** SHA-256 in lower-case hex; null for null. */
    public static native String sha256(byte[] bytes);
}
