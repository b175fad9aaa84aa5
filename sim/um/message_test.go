package um

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSpokenLength(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "1 second", 1400 * time.Millisecond: "1 second", 1600 * time.Millisecond: "2 seconds", 59 * time.Second: "59 seconds",
		time.Minute: "1 minute", 61 * time.Second: "1 minute 1 second", 125 * time.Second: "2 minutes 5 seconds",
	} {
		require.Equal(t, want, spoken(d), d)
	}
}

func TestTelephone(t *testing.T) {
	for user, want := range map[string]bool{"4021": true, "+14255550123": true, "": false, "+": false, "gw": false, "40a1": false, "anonymous": false} {
		require.Equal(t, want, telephone(user), user)
	}
}
