// Package transport is the mail side of a simulated server: its receive
// connectors with their permissions, the store behind them, and the pickup
// from which Unified Messaging's messages are submitted.
package transport

import "errors"

// errNoConnector is a configuration without a way in.
var errNoConnector = errors.New("transport: no receive connector to submit to")
