package sip

// table is a map that gives its memory back: a map keeps room for the most
// entries that it ever had, which a burst of calls would leave behind.
type table[K comparable, V any] struct {
	m    map[K]V
	peak int
}

func (t *table[K, V]) put(key K, v V) {
	if t.m == nil {
		t.m = map[K]V{}
	}
	t.m[key] = v
	t.peak = max(t.peak, len(t.m))
}

func (t *table[K, V]) get(key K) V { return t.m[key] }

func (t *table[K, V]) remove(key K) {
	delete(t.m, key)
	if t.peak > 1024 && len(t.m) < t.peak/8 {
		small := make(map[K]V, len(t.m))
		for k, v := range t.m {
			small[k] = v
		}
		t.m, t.peak = small, len(small)
	}
}
