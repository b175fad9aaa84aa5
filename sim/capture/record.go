package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// kind of a record.
type kind byte

const (
	opened kind = iota + 1 // a connection
	data                   // on it
	closed                 // one direction of it
	broken                 // all of it
	datagram
	keyLine
)

// flags of a record.
const (
	flagOut     byte = 1 << iota // sent by our end; of opened: we dialled
	flagControl                  // RTCP
	flagStarred
)

// record is one line of the spool.
type record struct {
	kind          kind
	flags         byte
	at            time.Time
	conn          uint32 // of a connection
	local, remote netip.AddrPort
	data, plain   []byte
}

func (r *record) out() bool { return r.flags&flagOut != 0 }

// append encodes it, its time as one since the capture began.
func (r *record) append(b []byte, start time.Time) []byte {
	b = append(b, byte(r.kind), r.flags)
	b = binary.AppendVarint(b, int64(r.at.Sub(start)))
	b = binary.AppendUvarint(b, uint64(r.conn))
	for _, part := range [...][]byte{address(r.local), address(r.remote), r.data, r.plain} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

func address(ap netip.AddrPort) []byte {
	if !ap.IsValid() {
		return nil
	}
	b, err := ap.MarshalBinary()
	if err != nil {
		return nil
	}
	return b
}

// maxPart is more than any part has: a read of a connection or a datagram.
const maxPart = 64 << 20

// read reads the next record; io.EOF behind the last one.
func (r *record) read(in *bufio.Reader, start time.Time) error {
	first, err := in.ReadByte()
	if err != nil {
		return err
	}
	flags, err := in.ReadByte()
	if err != nil {
		return torn(err)
	}
	at, err := binary.ReadVarint(in)
	if err != nil {
		return torn(err)
	}
	conn, err := binary.ReadUvarint(in)
	if err != nil {
		return torn(err)
	}
	var parts [4][]byte
	for i := range parts {
		n, err := binary.ReadUvarint(in)
		if err == nil && n > maxPart {
			err = fmt.Errorf("a part of %d octets", n)
		}
		if err != nil {
			return torn(err)
		}
		if n == 0 {
			continue
		}
		parts[i] = make([]byte, n)
		if _, err := io.ReadFull(in, parts[i]); err != nil {
			return torn(err)
		}
	}
	*r = record{kind: kind(first), flags: flags, at: start.Add(time.Duration(at)), conn: uint32(conn), data: parts[2], plain: parts[3]}
	if r.kind != opened && r.kind != datagram {
		return nil
	}
	return torn(errors.Join(r.local.UnmarshalBinary(parts[0]), r.remote.UnmarshalBinary(parts[1])))
}

func torn(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("capture: what was collected cannot be read back: %w", err)
}
