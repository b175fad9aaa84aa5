package sim

import (
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/profile"
)

// All that cannot be bound is told at once, with the ways out.
func TestBindErrors(t *testing.T) {
	at := netip.MustParseAddr("127.0.0.10")
	failed := func(row string, port uint16, err error) failedBind {
		return failedBind{"CAS1", at, port, profile.Port{ID: row}, &os.SyscallError{Syscall: "bind", Err: err}}
	}
	err := bindErrors([]failedBind{
		failed("default-frontend", 25, syscall.EACCES), failed("call-router", 5060, syscall.EADDRINUSE),
		failed("client-frontend", 587, syscall.EACCES), failed("um-service", 5062, errors.New("strange")),
	})
	for _, want := range []string{
		"call-router of CAS1: port 127.0.0.10:5060 is taken; stop what holds it (ss -ltnp), or use --port-offset N",
		"no privilege for 127.0.0.10:25 (default-frontend of CAS1), 127.0.0.10:587 (client-frontend of CAS1); use --low-port-offset 10000, or once: sudo setcap cap_net_bind_service=+ep",
		"um-service of CAS1: bind: strange",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestBoundPorts(t *testing.T) {
	for _, tt := range []struct {
		p          Ports
		documented uint16
		want       uint16
	}{
		{Ports{}, 25, 25}, {Ports{Low: 10000}, 25, 10025}, {Ports{Low: 10000}, 5060, 5060},
		{Ports{Offset: 20000}, 5060, 25060}, {Ports{Offset: 20000, Low: 10000}, 25, 30025}, {Ports{Free: true}, 5060, 0},
	} {
		require.Equal(t, tt.want, tt.p.bound(tt.documented), "%+v", tt)
	}
}
