package main

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// respond answers every UDP datagram that arrives at an interface, as nmap
// wants it: by one raw socket, while a filter keeps the kernel from answering.
func respond(name string) error {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	const ipv4 = 0x0008 // ETH_P_IP, in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, ipv4)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ipv4, Ifindex: ifi.Index}); err != nil {
		return err
	}
	fmt.Println("ready")
	to := &unix.SockaddrLinklayer{Ifindex: ifi.Index, Halen: 6}
	b := make([]byte, 2048)
	swap := func(i, k, n int) {
		for j := range n {
			b[i+j], b[k+j] = b[k+j], b[i+j]
		}
	}
	const ethernet, udp, head = 14, 17, 42
	for {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			return err
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if n < head || b[ethernet+9] != udp || !ok || link.Pkttype != unix.PACKET_HOST {
			continue
		}
		swap(0, 6, 6)       // addresses of the link,
		swap(26, 30, 4)     // of the hosts,
		swap(34, 36, 2)     // and ports
		b[40], b[41] = 0, 0 // no checksum
		if err := unix.Sendto(fd, b[:n], 0, to); err != nil {
			return err
		}
	}
}
