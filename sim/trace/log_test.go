package trace

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type note struct {
	n    int64
	text string
}

func (note) EventName() string { return "test.note" }
func (e note) AppendTo(f *Fields) {
	f.Int("n", e.n)
	f.Text("text", e.text)
	f.Part("part", 1, 3)
	f.Bool("yes", true)
	f.Float("ratio", 2)
	f.Duration("took", 1500*time.Millisecond)
}

// Four readers at their own pace see every event, also those long on disk,
// while four writers append.
func TestFollowMissesNothing(t *testing.T) {
	log := New(Config{Memory: 2 * chunkSize, Dir: t.TempDir()})
	const writers, each = 4, 2500
	raw := bytes.Repeat([]byte("x"), 400)
	var wg sync.WaitGroup
	for r := range 4 {
		wg.Go(func() {
			var next uint64
			seen := map[string]int64{}
			for e := range log.Follow(context.Background()) {
				if e.Seq != next {
					t.Errorf("reader %d: event %d after %d", r, e.Seq, next)
				}
				next++
				if e.Name != "test.note" {
					continue
				}
				if n := e.Int("n"); n != seen[e.Host] {
					t.Errorf("reader %d: %s wrote %d, wanted %d", r, e.Host, n, seen[e.Host])
				}
				seen[e.Host]++
			}
			for host, n := range seen {
				if n != each {
					t.Errorf("reader %d saw %d events of %s", r, n, host)
				}
			}
		})
	}
	var writing sync.WaitGroup
	for w := range writers {
		src := log.Source(fmt.Sprintf("w%d", w), "l")
		writing.Go(func() {
			for i := range each {
				src.Record(Session{"call", 7}, Session{}, note{int64(i), "hello"}, raw)
			}
		})
	}
	writing.Wait()
	require.NoError(t, log.Close())
	wg.Wait()
	require.Positive(t, log.spillAt, "the log was meant to spill")
	require.LessOrEqual(t, log.inMem*chunkSize, 3*chunkSize, "what stays in memory is bounded")
}

// A slow reader costs a writer nothing, and time in the log is the bubble's.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := New(Config{})
		src := log.Source("h", "l")
		done := make(chan int)
		go func() {
			n := 0
			for range log.Follow(t.Context()) {
				time.Sleep(time.Second)
				n++
			}
			done <- n
		}()
		begin := time.Now()
		for i := range 100 {
			src.Record(Session{}, Session{}, note{n: int64(i)}, []byte("abcd"))
		}
		require.Zero(t, time.Since(begin))
		time.Sleep(3 * time.Second)
		src.Record(Session{}, Session{}, note{}, []byte("abcd"))
		require.NoError(t, log.Close())
		require.Equal(t, 103, <-done)
		var last Event
		for e := range log.Events() {
			last = e
		}
		require.Equal(t, 3*time.Second, last.At)
		require.Equal(t, "run.ended", last.Name)
	})
}

// What is read from a file equals what was followed.
func TestJSONRoundTrip(t *testing.T) {
	log := New(Config{Header: []Field{{"seed", int64(4)}}})
	src := log.Source("mbx1", "worker")
	src.Record(Session{"smtp", 2}, Session{"call", 1}, note{5, "a <b> \"c\"\n"}, []byte("INVITE"))
	src.Record(Session{}, Session{}, note{-5, ""}, []byte{0xff, 0, 1, 2})
	require.NoError(t, log.Close())
	var file bytes.Buffer
	require.NoError(t, WriteJSON(&file, log.Events()))
	got, err := ReadJSON(bytes.NewReader(file.Bytes()))
	require.NoError(t, err)
	require.Equal(t, slices.Collect(log.Events()), got)
	require.Equal(t, "NVI", got[1].Text("part"))
	require.Equal(t, "call-1", got[1].Text("cause"))

	_, err = ReadJSON(bytes.NewReader([]byte("{}\n")))
	require.ErrorContains(t, err, "line 1")
	_, err = ReadJSON(bytes.NewReader(append(file.Bytes(), "{\n"...)))
	require.ErrorContains(t, err, "line 5")
}

func BenchmarkRecord(b *testing.B) {
	log := New(Config{Dir: b.TempDir()})
	defer log.Close()
	src := log.Source("h", "l")
	raw := bytes.Repeat([]byte("x"), 600)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		src.Record(Session{"call", uint32(i)}, Session{}, note{int64(i), "text"}, raw)
	}
}
