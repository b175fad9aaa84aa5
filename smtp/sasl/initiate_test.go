package sasl

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/stretchr/testify/require"
)

// initiatorOf is one with a key, and a KDC at an address.
func initiatorOf(t testing.TB, kdc string) *Initiator {
	t.Helper()
	k := keytab.New()
	require.NoError(t, k.AddEntry("EX1$", "CONTOSO.LAB", "secret", time.Now(), 1, 18))
	i, err := (&Keytab{keys: k}).Initiator(kdc, "ex1$")
	require.NoError(t, err)
	return i
}

// Whatever answers in the KDC's place, a log-on ends with an error, and nothing
// else does.
func TestBadKDC(t *testing.T) {
	krbError := func(data []byte) []byte {
		e := messages.NewKRBError(types.NewPrincipalName(nametype.KRB_NT_SRV_INST, "krbtgt/CONTOSO.LAB"), "CONTOSO.LAB", errorcode.KDC_ERR_PREAUTH_REQUIRED, "")
		e.EData = data
		b, err := e.Marshal()
		require.NoError(t, err)
		return b
	}
	for name, answer := range map[string][]byte{
		"nothing": nil, "noise": []byte("\x00\x01 noise"), "a sequence without end": {0x30, 0x84, 0xff, 0xff, 0xff, 0xff},
		"no pre-authentication": krbError(nil), "an empty list of it": krbError([]byte{0x30, 0x0d, 0x30, 0x0b, 0xa1, 0x03, 0x02, 0x01, 0x13, 0xa2, 0x04, 0x04, 0x02, 0x30, 0x00}),
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					nc, err := ln.Accept()
					if err != nil {
						return
					}
					var size [4]byte
					_, _ = io.ReadFull(nc, size[:])
					_, _ = io.CopyN(io.Discard, nc, int64(binary.BigEndian.Uint32(size[:])))
					_, _ = nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...))
					_ = nc.Close()
				}
			}()
			t.Cleanup(func() { _ = ln.Close(); <-done })
			_, err = initiatorOf(t, ln.Addr().String()).LogOn("SMTPSVC/ex2.contoso.lab")
			require.ErrorIs(t, err, errNoTicket)
		})
	}
	_, err := initiatorOf(t, "127.0.0.1:9").keytab.Initiator("127.0.0.1:9", "EX2$", "smtp/ex2.contoso.lab")
	require.EqualError(t, err, "the keytab has no key of EX2$, smtp/ex2.contoso.lab")
}

// What a server answers to a ticket is never more than an error.
func FuzzInitiation(f *testing.F) {
	key := types.EncryptionKey{KeyType: 18, KeyValue: make([]byte, 32)}
	proof, err := apRep(key, &types.Authenticator{CTime: time.Unix(1, 0).UTC(), Cusec: 7})
	require.NoError(f, err)
	layers, err := wrapped(key, sentByAcceptor, 0, 22)
	require.NoError(f, err)
	f.Add(proof, layers)
	f.Add([]byte("\x60\x03"), []byte("\x05\x04"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		a := &initiation{session: key, key: key, sent: types.Authenticator{CTime: time.Unix(1, 0).UTC(), Cusec: 7}}
		_, err := a.Next(first)
		if err == nil {
			_, err = a.Next(second)
		}
		if (a.Proven() == nil) != (err == nil) {
			t.Fatalf("proven: %v, but the exchange: %v", a.Proven(), err)
		}
	})
}
