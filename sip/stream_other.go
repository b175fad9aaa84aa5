//go:build !linux

package sip

import "net"

// quick is for Linux.
func quick(nc net.Conn) net.Conn { return nc }
