//go:build !linux

package rtp

import (
	"net"
	"sync"
)

// goLoop gives each socket a goroutine: without epoll the runtime's poller is
// the only portable one.
type goLoop struct{ wg *sync.WaitGroup }

func newLoop(wg *sync.WaitGroup) (receiveLoop, error) { return goLoop{wg}, nil }

func (l goLoop) attach(pc net.PacketConn, _ uint8, recv receiver) (socket, error) {
	return attachGo(l.wg, pc, recv), nil
}

func (goLoop) close() {}
