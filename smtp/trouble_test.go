package smtp

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// spoken sends all of a script at once and returns all that is answered until
// the connection ends. A server that ends it with the rest of the script unread
// resets it, behind what it has answered.
func spoken(t *testing.T, conf Config, script string) string {
	t.Helper()
	nc, err := net.Dial("tcp", serve(t, conf))
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(nc, script)
	require.NoError(t, err)
	all, err := io.ReadAll(nc)
	if !errors.Is(err, syscall.ECONNRESET) {
		require.NoError(t, err)
	}
	return string(all)
}

// What goes wrong at a stage goes wrong there alone, also where a client
// pipelines: nothing behind an answer that ends the connection is served.
func TestTrouble(t *testing.T) {
	const script = "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
	const greeting = "220 mbx1 ready\r\n250-mbx1 Hello [127.0.0.1]\r\n250-SIZE 102400\r\n250-PIPELINING\r\n250-DSN\r\n250-8BITMIME\r\n250-BINARYMIME\r\n" +
		"250-CHUNKING\r\n250-AUTH NTLM\r\n250-X-EXPS GSSAPI NTLM\r\n250-STARTTLS\r\n250 X-ANONYMOUSTLS\r\n"
	const ready = greeting + "250 sender-ok\r\n250 recipient-ok\r\n354 start-data\r\n"
	for name, tt := range map[string]struct {
		stage   string
		trouble Trouble
		want    string
		stored  int
	}{
		"none":             {"NOOP", Trouble{}, ready + "250 queued\r\n221 quit\r\n", 1},
		"banner":           {StageConnect, Trouble{Ends: true, Octets: 3}, "220", 0},
		"refused for now":  {StageMessage, Trouble{Reply: "452 4.3.1 no"}, ready + "452 4.3.1 no\r\n221 quit\r\n", 0},
		"sender refused":   {"MAIL", Trouble{Reply: "550 no"}, greeting + "550 no\r\n503 need-mail\r\n503 need-mail\r\n", 0},
		"the answer lost":  {StageMessage, Trouble{Ends: true}, ready, 1},
		"the answer cut":   {StageMessage, Trouble{Ends: true, Octets: 2}, ready + "25", 1},
		"pipelined, lost":  {"MAIL", Trouble{Ends: true}, greeting, 0},
		"pipelined, cut":   {"MAIL", Trouble{Ends: true, Octets: 5}, greeting + "250 s", 0},
		"late":             {"RCPT", Trouble{After: time.Millisecond}, ready + "250 queued\r\n221 quit\r\n", 1},
		"no data, no text": {"DATA", Trouble{Reply: "451 later"}, greeting + "250 sender-ok\r\n250 recipient-ok\r\n451 later\r\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := &backend{}
			conf := testConfig(b)
			asked := map[string]int{}
			var mu sync.Mutex
			conf.Trouble = func(stage string) *Trouble {
				mu.Lock()
				defer mu.Unlock()
				asked[stage]++
				if stage == tt.stage {
					return &tt.trouble
				}
				return nil
			}
			got := spoken(t, conf, script)
			require.True(t, len(got) >= len(tt.want) && got[:len(tt.want)] == tt.want, "%q", got)
			require.Len(t, b.got(), tt.stored)
			if tt.trouble.Ends {
				require.Equal(t, tt.want, got)
				mu.Lock()
				defer mu.Unlock()
				require.Zero(t, asked["QUIT"], "nothing behind it is served")
			}
		})
	}
}

// The last chunk of a message is where its end is refused, or its answer lost.
func TestTroubleOfChunks(t *testing.T) {
	const script = "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2\r\nabBDAT 2 LAST\r\ncdQUIT\r\n"
	b := &backend{}
	conf := testConfig(b)
	conf.Trouble = func(stage string) *Trouble {
		if stage == StageMessage {
			return &Trouble{Reply: "452 later"}
		}
		return nil
	}
	require.Contains(t, spoken(t, conf, script), "250 chunk\r\n452 later\r\n221 quit\r\n")
	require.Empty(t, b.got())
}
