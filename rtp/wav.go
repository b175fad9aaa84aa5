package rtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// WAV format tags (RFC 2361 and mmreg.h).
const (
	wavPCM  = 1
	wavALaw = 6
	wavMu   = 7
)

// WAV wraps G.711 octets into a WAV file of the same encoding, 8 kHz mono.
func WAV(c Codec, octets []byte) []byte {
	tag := uint16(wavMu)
	if c == PCMA {
		tag = wavALaw
	}
	pad := len(octets) % 2
	le := binary.LittleEndian
	b := append(make([]byte, 0, 58+len(octets)+pad), "RIFF"...)
	b = le.AppendUint32(b, uint32(50+len(octets)+pad))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 18)
	b = le.AppendUint16(b, tag)
	b = le.AppendUint16(b, 1)    // channels
	b = le.AppendUint32(b, 8000) // samples a second
	b = le.AppendUint32(b, 8000) // octets a second
	b = le.AppendUint16(b, 1)    // octets a sample
	b = le.AppendUint16(b, 8)    // bits a sample
	b = le.AppendUint16(b, 0)    // no extension
	b = append(b, "fact"...)
	b = le.AppendUint32(b, 4)
	b = le.AppendUint32(b, uint32(len(octets)))
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(len(octets)))
	b = append(b, octets...)
	return append(b, make([]byte, pad)...)
}

// maxWAV bounds what is read: an hour of PCM.
const maxWAV = time.Hour

// ReadWAV reads an 8 kHz mono WAV of PCM16 or either law as octets of c.
func ReadWAV(file []byte, c Codec) ([]byte, error) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WAVE" {
		return nil, errors.New("not a WAV file")
	}
	le := binary.LittleEndian
	var format []byte
	for b := file[12:]; len(b) >= 8; {
		id, n := string(b[:4]), int64(le.Uint32(b[4:]))
		body := b[8:]
		body = body[:min(n, int64(len(body)))]
		switch id {
		case "fmt ":
			format = body
		case "data":
			return decodeWAV(format, body, c)
		}
		b = b[min(int64(len(b)), 8+n+n%2):]
	}
	return nil, errors.New("the WAV file has no data")
}

func decodeWAV(format, data []byte, c Codec) ([]byte, error) {
	le := binary.LittleEndian
	if len(format) < 16 {
		return nil, errors.New("the WAV file has no format before its data")
	}
	tag, channels, rate, bits := le.Uint16(format), le.Uint16(format[2:]), le.Uint32(format[4:]), le.Uint16(format[14:])
	if channels != 1 || rate != 8000 {
		return nil, fmt.Errorf("the WAV file has %d channels at %d Hz; 1 at 8000 Hz is wanted (sox in.wav -r 8000 -c 1 out.wav)", channels, rate)
	}
	if len(data) > int(maxWAV/time.Second)*16000 {
		return nil, fmt.Errorf("the WAV file is longer than %s", maxWAV)
	}
	switch {
	case tag == wavMu && bits == 8:
		return c.Convert(append([]byte{}, data...), PCMU), nil
	case tag == wavALaw && bits == 8:
		return c.Convert(append([]byte{}, data...), PCMA), nil
	case tag == wavPCM && bits == 16:
		b := make([]byte, len(data)/2)
		for i := range b {
			b[i] = c.Encode(int16(le.Uint16(data[2*i:])))
		}
		return b, nil
	}
	return nil, fmt.Errorf("WAV format %d with %d bits is not read; use 16-bit PCM, mu-law or A-law", tag, bits)
}
