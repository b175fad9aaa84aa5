package profile

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The pages hold 143 entries; what is derived stands beside them and is marked.
func TestCatalogueIsWhole(t *testing.T) {
	c, err := DataPaths()
	require.NoError(t, err)
	kinds, pages := map[PathKind]int{}, map[string]int{}
	seen := map[string]bool{}
	for _, d := range c.Paths {
		require.False(t, seen[d.ID], d.ID)
		seen[d.ID] = true
		kinds[d.Kind]++
		require.NotEmpty(t, d.Versions, d.ID)
		require.True(t, strings.HasPrefix(d.Source.Address, "https://"), d.ID)
		if d.Kind != KindDerived {
			pages[d.Source.Title]++
		}
		require.Equal(t, d.Kind == KindRow, d.Table != "" && d.Row > 0, d.ID)
		require.Equal(t, d.Kind == KindRule, d.Rule != nil, d.ID)
		require.Equal(t, d.Kind == KindDerived, strings.HasPrefix(d.ID, "derived-"), d.ID)
		for _, id := range d.RestsOn {
			require.NotNil(t, c.Path(id), "%s rests on %s", d.ID, id)
		}
		for _, role := range []string{d.From, d.To} {
			if role != "" {
				require.Contains(t, c.played, role, d.ID)
			}
		}
	}
	require.Equal(t, map[PathKind]int{KindRow: 88, KindNote: 34, KindRule: 21, KindDerived: kinds[KindDerived]}, kinds)
	require.Equal(t, map[string]int{"Data Path Security Reference (Exchange 2007)": 67, "UM protocols, ports, and services": 13,
		"Network ports for clients and mail flow in Exchange 2013": 31, "Network ports for clients and mail flow in Exchange": 32}, pages)
	require.Equal(t, []string{"2007", "2013", "2016", "2019"}, c.Versions())
	requireRows(t, c)
	for role, players := range c.played {
		for _, p := range players {
			if p.Role != "*" {
				require.True(t, slices.ContainsFunc(c.Roles, func(r PathRole) bool { return r.ID == p.Role }), "%s is played by %s", role, p.Role)
			}
		}
	}
	for _, f := range c.Features {
		for _, id := range f.Paths {
			require.NotNil(t, c.Path(id), f.ID)
		}
	}
	for _, d := range c.Paths {
		if d.Feature != "" {
			require.True(t, slices.ContainsFunc(c.Features, func(f Feature) bool { return f.ID == d.Feature }), d.ID)
		}
	}
}

// requireRows holds that each table is there from its first row to its last.
func requireRows(t *testing.T, c *Catalogue) {
	t.Helper()
	rows := map[string][]int{}
	for _, d := range c.Paths {
		if d.Kind == KindRow {
			key := d.Source.Title + ": " + d.Table
			rows[key] = append(rows[key], d.Row)
		}
	}
	for table, list := range rows {
		slices.Sort(list)
		for i, n := range list {
			require.Equal(t, i+1, n, table)
		}
	}
	require.Len(t, rows, 11)
}

// What is simulated listens where the catalogue says, and what the catalogue
// says of SIP, RTP and SMTP is simulated, or named here with its reason.
func TestCatalogueEqualsPortTables(t *testing.T) {
	c, err := DataPaths()
	require.NoError(t, err)
	notYet := map[string]string{
		"587/tcp": "Client Frontend", "465/tcp": "Client Proxy", "475/tcp": "mailbox delivery", "717/tcp": "Outbound Proxy Frontend",
		"5062/tcp 2007": "printed without a word on its use", "5060/udp": "contradictory: no version listens for SIP over UDP",
	}
	for _, v := range Versions() {
		p, err := Load(v)
		require.NoError(t, err)
		of := CatalogueVersion(v)
		if len(c.Of(of)) == 0 {
			require.Contains(t, []string{"2010", "2010-sp1", "online-2015"}, v, "no seed has its pages")
			continue
		}
		listed := map[string]bool{}
		for _, r := range p.Ports {
			for _, n := range numbers(r) {
				if r.Transport == "tls" {
					r.Transport = "tcp"
				}
				key := fmt.Sprintf("%d/%s", n, r.Transport)
				listed[key] = true
				require.True(t, inCatalogue(c, of, server(p, r.Role), r.Transport, n), "version %s: row %s (%s) is in no path to %s", v, r.ID, key, r.Role)
			}
		}
		for _, d := range c.Of(of) {
			if !slices.ContainsFunc(p.Roles(), func(role string) bool { return c.Plays(of, of, server(p, role), d.To) }) {
				continue // Edge Transport, gateways and others are not simulated here
			}
			for _, port := range d.Ports {
				key := port.Ports.String() + "/" + port.Transport
				if !port.Ports.Numbered() || !slices.Contains([]string{"SIP", "RTP", "SMTP", "SMTP submission"}, port.Protocol) || notYet[key] != "" || notYet[key+" "+of] != "" {
					continue
				}
				key = fmt.Sprintf("%d/%s", port.Ports.Low, port.Transport)
				require.True(t, listed[key], "version %s: path %s names %s, which is not simulated", v, d.ID, key)
			}
		}
	}
}

// numbers are the ports of a row in all its layouts.
func numbers(r Port) []uint16 {
	list := []uint16{r.Port}
	for _, n := range []uint16{r.Last, r.Beside, r.TLSOnly} {
		if n != 0 {
			list = append(list, n)
		}
	}
	return list
}

// server has the roles that stand on one server with this one.
func server(p *Profile, role string) []string {
	if !p.Separate {
		return p.Roles()
	}
	return []string{role}
}

func inCatalogue(c *Catalogue, version string, roles []string, transport string, n uint16) bool {
	for _, d := range c.Of(version) {
		for _, p := range d.Ports {
			if d.Kind != KindRule && p.Transport == transport && p.Ports.Contains(n) && c.Plays(version, version, roles, d.To) {
				return true
			}
		}
	}
	return false
}

// UDP 5060 is the one port that a page both gives and denies.
func TestContradictoryPort(t *testing.T) {
	c, err := DataPaths()
	require.NoError(t, err)
	var found []string
	for _, d := range c.Paths {
		for _, p := range d.Ports {
			if d.Of(p) == Contradictory {
				found = append(found, d.ID+" "+p.Ports.String()+"/"+p.Transport)
			}
		}
	}
	require.Equal(t, []string{"e2013-2016-um-sip-client-5060 5060/udp"}, found)
	require.NotEmpty(t, c.Path("e2013-2016-um-sip-client-5060").Disagreements)
}

// The eight rules that Setup creates have their documented names.
func TestFirewallRuleNames(t *testing.T) {
	c, err := DataPaths()
	require.NoError(t, err)
	require.Equal(t, []string{"SESWorker (GFW) (TCP-In)", "UMCallRouter (GFW) (TCP-In)", "UMCallRouter (TCP-In)", "UMService (GFW) (TCP-In)", "UMService (TCP-In)",
		"UMWorkerProcess – RPC (TCP-In)", "UMWorkerProcess (GFW) (TCP-In)", "UMWorkerProcess (TCP-In)"}, c.Path("e2013-2016-um-windows-firewall-rules").FirewallRules)
}

// A page in a file that is not read would be missed by nobody.
func TestCatalogueReadsAllFiles(t *testing.T) {
	files, err := os.ReadDir("data/paths")
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	require.ElementsMatch(t, append([]string{"vocabulary", "disagreements"}, pathPages...), names)
}
