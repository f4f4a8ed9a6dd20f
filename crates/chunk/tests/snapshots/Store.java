package org.example.store;

import java.util.*;

/**
 * Keeps things by their key.
 *
 * @param <K> the key
 */
@Deprecated
public abstract class Store<K extends Comparable<K>, V> implements Iterable<V> {
    private static final int LIMIT = 10;
    private final Map<K, V> values = new TreeMap<>();

    static {
        System.setProperty("store", "on");
    }

    /** Makes an empty one. */
    protected Store() {
        super();
    }

    /** Puts one in. */
    @SafeVarargs
    public final <T extends V> void put(K key, T... all) throws IllegalStateException {
        if (values.size() >= LIMIT) {
            throw new IllegalStateException("full");
        }
        for (T value : all) values.put(key, value);
    }

    public abstract V load(K key);

    interface Listener<V> {
        void changed(V value);

        default boolean once() { return false; }
    }

    enum Mode {
        READ, WRITE { @Override boolean writes() { return true; } };

        boolean writes() { return false; }
    }

    record Pair<A, B>(A first, B second) {
        Pair {
            Objects.requireNonNull(first);
        }
    }

    @interface Marked { String value() default ""; }
}
