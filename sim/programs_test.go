package sim_test

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// output is what a process has said so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

// count is how often it has said something.
func (o *output) count(what string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Count(o.buf.String(), what)
}

// runGroup runs a program that has children of its own; all end with the test.
func runGroup(t *testing.T, name string, args ...string) *output {
	t.Helper()
	out, _ := startGroup(t, exec.Command(name, args...))
	return out
}

// startGroup is the same, with a command that is made already, and it can be ended
// before.
func startGroup(t *testing.T, c *exec.Cmd) (out *output, stop func()) {
	t.Helper()
	out = &output{}
	c.Stdout, c.Stderr = out, out
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, c.Start())
	stop = sync.OnceFunc(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
		_ = c.Wait()
		timer.Stop()
		if t.Failed() {
			t.Log(out.buf.String())
		}
	})
	t.Cleanup(stop)
	return out, stop
}

// awaitListening waits until somebody takes connections.
func awaitListening(t *testing.T, at string) {
	t.Helper()
	require.Eventually(t, func() bool {
		nc, err := net.Dial("tcp", at)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "nobody listens at %s", at)
}

// needRoot skips a test of a program that only root can run.
func needRoot(t *testing.T, program string) {
	t.Helper()
	if os.Getuid() != 0 {
		require.NotEqual(t, "true", os.Getenv("CI"), program+" needs root")
		t.Skip(program + " needs root: sudo make test")
	}
}

// logged shows a program's log where its test has failed.
func logged(t *testing.T, read func() string) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(read())
		}
	})
}

// freePort is a TCP port of an address that nobody has.
func freePort(t *testing.T, addr string) uint16 {
	t.Helper()
	ln, err := net.Listen("tcp", addr+":0")
	require.NoError(t, err)
	defer ln.Close()
	return netip.MustParseAddrPort(ln.Addr().String()).Port()
}

// freeAddr is an address with a port that nobody has.
func freeAddr(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", addr+":0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return netip.MustParseAddrPort(ln.Addr().String())
}
