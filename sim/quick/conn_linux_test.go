package quick

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// streamPair is a quick connection and its peer.
func streamPair(t *testing.T) (ours, peer net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	peer, err = net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	nc, err := ln.Accept()
	require.NoError(t, err)
	ours = Conn(nc)
	require.IsType(t, &stream{}, ours)
	t.Cleanup(func() { _ = ours.Close(); _ = peer.Close() })
	return ours, peer
}

// More than the socket holds goes out whole, as the peer takes it.
func TestStreamWaitsForRoom(t *testing.T) {
	ours, peer := streamPair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	go func() {
		n, err := ours.Write(sent)
		if err == nil && n == len(sent) {
			_ = ours.Close()
		}
	}()
	got, err := io.ReadAll(peer)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
}

func TestStreamEnds(t *testing.T) {
	buf := make([]byte, 8)
	t.Run("end", func(t *testing.T) {
		ours, peer := streamPair(t)
		_, _ = peer.Write([]byte("hi"))
		_ = peer.Close()
		n, err := ours.Read(buf)
		require.NoError(t, err)
		require.Equal(t, "hi", string(buf[:n]))
		_, err = ours.Read(buf)
		require.Equal(t, io.EOF, err)
	})
	t.Run("deadline", func(t *testing.T) {
		ours, _ := streamPair(t)
		require.NoError(t, ours.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
		_, err := ours.Read(buf)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var timeout net.Error
		require.True(t, errors.As(err, &timeout) && timeout.Timeout())
	})
	t.Run("reset", func(t *testing.T) {
		ours, peer := streamPair(t)
		require.NoError(t, peer.(*net.TCPConn).SetLinger(0))
		_ = peer.Close()
		_, err := ours.Read(buf)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = ours.Write(make([]byte, 8))
		require.Error(t, err)
	})
	t.Run("closed", func(t *testing.T) {
		ours, _ := streamPair(t)
		go func() { _ = ours.Close() }()
		_, err := ours.Read(buf)
		require.ErrorIs(t, err, net.ErrClosed)
	})
}
