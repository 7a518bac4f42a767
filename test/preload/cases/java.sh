# SPDX-License-Identifier: MIT
# about: the virtual machine and its compiler: javac, just-in-time code, threads, direct buffers
# programs: java javac
# packages: default-jdk-headless
# set: long
# probe: java -version

prepare() {
    cat >"$INPUT/Work.java" <<'JAVA'
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.*;
import java.util.regex.*;
import java.util.stream.*;
import java.util.zip.*;

public class Work {
    static String hash(byte[] data) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
    }
    static long task(int n) throws Exception {
        Random random = new Random(n);
        Map<Integer, ByteBuffer> kept = new HashMap<>();
        long sum = 0;
        for (int i = 0; i < 3000; i++) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(random.nextInt(9000) + 1);
            buffer.put(0, (byte) i);
            ByteBuffer old = kept.put(random.nextInt(200), buffer);
            sum += old == null ? 1 : old.capacity() + old.get(0);
        }
        Deflater deflater = new Deflater();
        deflater.setInput(new byte[100000]);
        deflater.finish();
        sum += deflater.deflate(new byte[5000]);
        deflater.end();
        return sum;
    }
    public static void main(String[] args) throws Exception {
        List<String> words = IntStream.range(0, 60000).mapToObj(i -> "w" + i * 7919L % 5003).collect(Collectors.toList());
        System.out.println(new TreeMap<>(words.stream().collect(Collectors.groupingBy(w -> w.length(), Collectors.counting()))));
        String text = String.join(" ", words);
        Matcher matcher = Pattern.compile("w(\\d)\\1").matcher(text);
        int n = 0;
        while (matcher.find()) n++;
        System.out.println(n + " " + hash(text.getBytes()));
        ExecutorService pool = Executors.newFixedThreadPool(6);
        List<Future<Long>> results = new ArrayList<>();
        for (int i = 0; i < 24; i++) { final int k = i; results.add(pool.submit(() -> task(k))); }
        for (Future<Long> result : results) System.out.print(result.get() + " ");
        System.out.println();
        pool.shutdown();
        for (int i = 0; i < 200; i++) { Thread t = new Thread(() -> { byte[] b = new byte[5000]; }); t.start(); t.join(); }
        try { recurse(0); } catch (StackOverflowError e) { System.out.println("overflow caught"); }
        System.gc();
        System.out.println("done");
    }
    static int recurse(int n) { return recurse(n + 1) + 1; }
}
JAVA
}

run() {
    javac -d "$TMPDIR" "$INPUT/Work.java"
    java -Xshare:auto -XX:+UseSerialGC -Xmx256m -XX:-UsePerfData -cp "$TMPDIR" Work
    java -XX:+UseG1GC -Xmx256m -XX:MaxDirectMemorySize=64m -XX:-UsePerfData -cp "$TMPDIR" Work
}
