package android.content.pm;

public class ApplicationInfo {
    public int uid;
    public int flags;
    public boolean enabled;
    public String label;

    public CharSequence loadLabel(PackageManager manager) { return label; }
}
