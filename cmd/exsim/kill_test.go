package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// What was answered 250 is in the store, once, however exsim ended: it is killed
// while eight clients send.
func TestKilledUnderLoad(t *testing.T) { killRounds(t, 3) }

// TestSoakKilled is the same, many times.
func TestSoakKilled(t *testing.T) {
	if os.Getenv("EXSIM_SOAK") == "" {
		t.Skip("takes minutes: make soak")
	}
	killRounds(t, 50)
}

func killRounds(t *testing.T, rounds int) {
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	for round := range rounds {
		for id := range killed(t, dir, round) {
			acknowledged[id] = true
		}
		stored := map[string]int{}
		files, err := filepath.Glob(filepath.Join(dir, "mailboxes", "*@*", "*.eml"))
		require.NoError(t, err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			_, rest, ok := strings.Cut(string(b), "Message-ID: <")
			require.True(t, ok, "%s is not whole", f)
			id, _, _ := strings.Cut(rest, ">")
			require.True(t, strings.HasSuffix(string(b), "the end of "+id+"\r\n"), "%s is not whole", f)
			stored[id]++
		}
		for id := range acknowledged {
			require.Equal(t, 1, stored[id], "round %d: %s", round, id)
		}
		for id, n := range stored {
			require.Equal(t, 1, n, id)
		}
	}
	require.Greater(t, len(acknowledged), 20*rounds, "too few messages to prove anything")
	t.Logf("killed %d times; %d messages were acknowledged, all are there once", rounds, len(acknowledged))
}

// killed runs exsim on a folder, sends, kills it after a while, and returns what
// was acknowledged.
func killed(t *testing.T, dir string, round int) map[string]bool {
	t.Helper()
	c := exsim(t.Context(), "up", "--version", "2019", "--json", "--free-ports", "--dir", dir)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	in, err := c.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	d := json.NewDecoder(out)
	var ready readyLine
	require.NoError(t, d.Decode(&ready))
	at := ""
	for _, l := range ready.Listeners {
		if l.Row == "default-frontend" {
			at = l.Address
		}
	}
	require.NotEmpty(t, at)
	go func() { // nobody waits for what is said
		for d.Decode(&struct{}{}) == nil {
		}
	}()
	var mu sync.Mutex
	taken := map[string]bool{}
	enough := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	after := 30 + rand.IntN(100)
	for client := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d-%d@kill", round, client, n)
				if sendOne(at, id) != nil {
					return
				}
				mu.Lock()
				taken[id] = true
				if len(taken) >= after {
					once.Do(func() { close(enough) })
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(60 * time.Second):
		t.Error("exsim takes no mail")
	}
	require.NoError(t, c.Process.Kill())
	_ = in.Close()
	wg.Wait()
	_ = c.Wait()
	mu.Lock()
	defer mu.Unlock()
	return taken
}

// sendOne sends a message in a session of its own; nil where it is acknowledged.
func sendOne(at, id string) error {
	c, err := gosmtp.Dial(at)
	if err != nil {
		return err
	}
	defer c.Close()
	text := "Message-ID: <" + id + ">\r\nSubject: x\r\n\r\n" + strings.Repeat("line\r\n", rand.IntN(2000)) + "the end of " + id + "\r\n"
	return c.SendMail("bob@fabrikam.example", []string{"ada@contoso.lab"}, strings.NewReader(text))
}
