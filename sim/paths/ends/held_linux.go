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
	for _, name := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			fields := strings.Fields(s.Text())
			if len(fields) < 2 {
				continue
			}
			host, port, ok := strings.Cut(fields[1], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			if !ok || err != nil {
				continue
			}
			if at := procAddr(host); at.IsUnspecified() || at == addr {
				set.Add(uint16(n))
			}
		}
		_ = f.Close()
	}
	return set
}

// procAddr reads an address of /proc/net/udp: words of four octets in this
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
