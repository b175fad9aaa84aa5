package ends

import (
	"bufio"
	"encoding/binary"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/exsim/exsim/sim/paths"
)

// taken are the UDP ports of an address that some socket of this machine has.
func taken(addr netip.Addr) paths.PortSet {
	var set paths.PortSet
	sockets("udp", func(local, _ netip.AddrPort, _ string) {
		if local.Addr().IsUnspecified() || local.Addr() == addr {
			set.Add(local.Port())
		}
	})
	return set
}

// halfOpen are the connections that somebody has begun and whose beginning was
// answered, while nothing followed: by local address, who began them.
func halfOpen() map[netip.AddrPort][]netip.Addr {
	const synReceived = "03" // TCP_SYN_RECV of linux/tcp_states.h
	half := map[netip.AddrPort][]netip.Addr{}
	sockets("tcp", func(local, remote netip.AddrPort, state string) {
		if state == synReceived {
			half[local] = append(half[local], remote.Addr())
		}
	})
	return half
}

// sockets lists those of a protocol that this machine has, of both families.
func sockets(protocol string, each func(local, remote netip.AddrPort, state string)) {
	for _, name := range []string{protocol, protocol + "6"} {
		f, err := os.Open("/proc/net/" + name)
		if err != nil {
			continue
		}
		s := bufio.NewScanner(f)
		for s.Scan(); s.Scan(); { // behind a line of titles
			fields := strings.Fields(s.Text())
			if len(fields) > 3 {
				each(procAddrPort(fields[1]), procAddrPort(fields[2]), fields[3])
			}
		}
		_ = f.Close()
	}
}

func procAddrPort(text string) netip.AddrPort {
	host, port, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(procAddr(host), uint16(n))
}

// procAddr reads an address of /proc/net: words of four octets in this
// machine's order.
func procAddr(text string) netip.Addr {
	var b []byte
	for ; len(text) >= 8; text = text[8:] {
		n, err := strconv.ParseUint(text[:8], 16, 32)
		if err != nil {
			return netip.Addr{}
		}
		b = binary.NativeEndian.AppendUint32(b, uint32(n))
	}
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}
