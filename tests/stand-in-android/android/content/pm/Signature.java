package android.content.pm;

public class Signature {
    public byte[] toByteArray() { return new byte[] {'a', 'b', 'c'}; }
}
