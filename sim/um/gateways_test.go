package um

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/profile"
	"github.com/exsim/exsim/sim/trace"
)

// Loss and recovery are told once each, and silence is told in Exchange's own
// words.
func TestGatewayHealth(t *testing.T) {
	name, text, err := org.Default("2016")
	require.NoError(t, err)
	o, err := org.Load(name, text)
	require.NoError(t, err)
	p := *must(profile.Load("2016"))
	p.UM.GatewayProbeInterval = 10 * time.Millisecond
	log := trace.New(trace.Config{})
	gs := NewGateways(o, &p, log, nil)
	answers := []func(ctx context.Context) (int, error){
		func(context.Context) (int, error) { return 405, errors.New("OPTIONS was answered 405") },
		func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
		func(context.Context) (int, error) { return 200, nil },
		func(context.Context) (int, error) { return 200, nil },
		func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	turn := 0
	gs.Watch(ctx, &o.Servers[0], func(ctx context.Context, to netip.AddrPort, secure bool) (int, error) {
		require.Equal(t, "127.0.0.30:5060", to.String())
		require.False(t, secure)
		if turn == len(answers) {
			stop()
			return 0, ctx.Err()
		}
		turn++
		return answers[turn-1](ctx)
	})
	require.NoError(t, log.Close())
	var got []string
	for e := range log.Events() {
		if e.Listener == UMService {
			got = append(got, e.Name+" "+e.Text("status")+" "+e.Text("why"))
		}
	}
	require.Equal(t, []string{"um.gateway_down 405 OPTIONS was answered 405", "um.gateway_up 200 ", "um.gateway_down 0 this operation has timed out"}, got)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
