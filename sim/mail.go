package sim

import (
	"fmt"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/transport"
)

// mailState is what befalls the transport of a server.
func (x *Exchange) mailState(s *org.Server) *transport.State {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mail[s.Name] == nil {
		x.mail[s.Name] = &transport.State{}
	}
	return x.mail[s.Name]
}

// components are the services of the port table by the names that
// Set-ServerComponentState has.
var components = map[string]string{"HubTransport": "transport", "FrontendTransport": "front-end-transport", "EdgeTransport": "edge-transport"}

// SetTransport sets a component of a server's transport (HubTransport,
// FrontendTransport, EdgeTransport) inactive, or active again, as
// Set-ServerComponentState does: it answers, and takes no mail.
func (x *Exchange) SetTransport(server, component string, inactive bool) error {
	s, service := x.conf.Org.ServerNamed(server), components[component]
	if s == nil || service == "" {
		return fmt.Errorf("sim: no server is named %q, or no component %q", server, component)
	}
	st := x.mailState(s)
	st.SetInactive(service, inactive)
	st.Changed(x.log.Source(server, service), component, map[bool]string{true: "inactive", false: "active"}[inactive])
	return nil
}

// SetPressure sets how hard a server's transport is pressed for resources.
func (x *Exchange) SetPressure(server string, p transport.Pressure) error {
	s := x.conf.Org.ServerNamed(server)
	if s == nil {
		return fmt.Errorf("sim: no server is named %q", server)
	}
	st := x.mailState(s)
	st.SetPressure(p)
	st.Changed(x.log.Source(server, "transport"), "back pressure", string(p.Level))
	return nil
}
