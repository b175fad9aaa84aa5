package profile

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/exsim/exsim/sim/yamlfile"
)

//go:embed data/paths/*.yaml
var pathData embed.FS

// Catalogue is every data path that the port pages state for Exchange 2007,
// 2013, 2016 and 2019, with the words that a plan uses. It is not changed after
// DataPaths.
type Catalogue struct {
	Paths    []*DataPath // by page, in its order; derived ones last
	Roles    []PathRole
	Features []Feature
	Wrong    []WrongPort
	played   map[string][]Player
}

// PathRole is a role that a host of a plan can have.
type PathRole struct {
	ID       string   `yaml:"id,required"`
	Means    string   `yaml:"means,required"`
	Zone     string   `yaml:"zone,required" enum:"internal,perimeter,internet"` // where it mostly stands
	Exchange bool     `yaml:"exchange"`                                         // an internal Exchange server
	Versions []string `yaml:"versions"`                                         // that know it; none: all
}

// Player is a role of a plan that stands for a role of the pages.
type Player struct {
	Role         string   `yaml:"role,required"` // or *
	With         string   `yaml:"with"`          // on a host that has this role too
	Versions     []string `yaml:"versions"`      // of the plan; none: all
	HostVersions []string `yaml:"host-versions"` // of the host itself; none: all
}

// Feature is what a plan may use beside what is always on.
type Feature struct {
	ID    string   `yaml:"id,required"`
	Means string   `yaml:"means,required"`
	Paths []string `yaml:"paths"` // that are closed unless it is used
	// UnlessRole: the paths are closed only where a host has this role.
	UnlessRole string `yaml:"unless-role"`
}

// WrongPort is what is classically open by mistake.
type WrongPort struct {
	Ports     string   `yaml:"ports,required"` // as 25 or 21,5062-5068
	Transport string   `yaml:"transport,required" enum:"tcp,udp"`
	From      []string `yaml:"from"`      // roles; none: any host
	FromZone  string   `yaml:"from-zone"` // kind of zone, "" is any
	To        []string `yaml:"to"`
	Unless    string   `yaml:"unless"` // a feature that is used
	Sample    bool     `yaml:"sample"` // tried as part of a sample
	Why       string   `yaml:"why,required"`
}

// DataPaths returns the catalogue.
func DataPaths() (*Catalogue, error) { return catalogue() }

// pathPages are the catalogue's files, in the order of Catalogue.Paths.
var pathPages = []string{"dpsec07", "um-ports", "ports13", "ports16", "derived"}

var catalogue = sync.OnceValues(func() (*Catalogue, error) {
	c := &Catalogue{}
	for _, name := range pathPages {
		var page struct {
			Source Source      `yaml:"source,required"`
			Paths  []*DataPath `yaml:"paths,required"`
		}
		f, err := readPaths(name, &page)
		if err != nil {
			return nil, err
		}
		for _, d := range page.Paths {
			if d.Source == (Source{}) {
				d.Source = page.Source
			}
			if d.Kind == KindDerived && (d.Reason == "" || len(d.RestsOn) == 0) {
				f.Report(yamlfile.Pos{}, "", "%s: a derived path has a reason and rests on something", d.ID)
			}
		}
		if err := f.Err(); err != nil {
			return nil, err
		}
		c.Paths = append(c.Paths, page.Paths...)
	}
	return c, c.words()
})

func readPaths(name string, into any) (*yamlfile.File, error) {
	text, err := pathData.ReadFile("data/paths/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return yamlfile.Load("profile/paths/"+name+".yaml", text, into)
}

// words loads the vocabulary and the disagreements.
func (c *Catalogue) words() error {
	var v struct {
		Roles    []PathRole          `yaml:"roles,required"`
		Played   map[string][]Player `yaml:"played,required"`
		Features []Feature           `yaml:"features,required"`
		Wrong    []WrongPort         `yaml:"wrong,required"`
	}
	if _, err := readPaths("vocabulary", &v); err != nil {
		return err
	}
	c.Roles, c.played, c.Features, c.Wrong = v.Roles, v.Played, v.Features, v.Wrong
	var d struct {
		Disagreements []Disagreement `yaml:"disagreements,required"`
	}
	f, err := readPaths("disagreements", &d)
	if err != nil {
		return err
	}
	for _, x := range d.Disagreements {
		for _, id := range x.Paths {
			path := c.Path(id)
			if path == nil {
				f.Report(yamlfile.Pos{}, "", "no path is %q", id)
				continue
			}
			path.Disagreements = append(path.Disagreements, x)
		}
	}
	return f.Err()
}

// Path returns the entry with this id, nil if there is none.
func (c *Catalogue) Path(id string) *DataPath {
	i := slices.IndexFunc(c.Paths, func(d *DataPath) bool { return d.ID == id })
	if i < 0 {
		return nil
	}
	return c.Paths[i]
}

// Versions lists the versions that the pages are about.
func (c *Catalogue) Versions() []string {
	all := map[string]bool{}
	for _, d := range c.Paths {
		for _, v := range d.Versions {
			all[v] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Of returns the entries of a version.
func (c *Catalogue) Of(version string) []*DataPath {
	var list []*DataPath
	for _, d := range c.Paths {
		if slices.Contains(d.Versions, version) {
			list = append(list, d)
		}
	}
	return list
}

// RolesOf lists the roles that hosts can have in a plan of a version.
func (c *Catalogue) RolesOf(version string) []string {
	var list []string
	for _, r := range c.Roles {
		if r.Versions == nil || slices.Contains(r.Versions, version) {
			list = append(list, r.ID)
		}
	}
	return list
}

// Internal says whether a role is that of an internal Exchange server.
func (c *Catalogue) Internal(role string) bool {
	return slices.ContainsFunc(c.Roles, func(r PathRole) bool { return r.ID == role && r.Exchange })
}

// IsServer says whether a role of the pages is that of an Exchange server, Edge
// Transport included.
func (c *Catalogue) IsServer(version, role string) bool {
	return slices.ContainsFunc(c.Roles, func(r PathRole) bool {
		return (r.Exchange || r.ID == "edge-transport") && c.Plays(version, version, []string{r.ID}, role)
	})
}

// Plays says whether a host with these roles, of hostVersion in a plan of
// version, is what a page calls role.
func (c *Catalogue) Plays(version, hostVersion string, roles []string, role string) bool {
	return slices.ContainsFunc(c.played[role], func(p Player) bool {
		return (p.Role == "*" || slices.Contains(roles, p.Role)) &&
			(p.With == "" || slices.Contains(roles, p.With)) &&
			(p.Versions == nil || slices.Contains(p.Versions, version)) &&
			(p.HostVersions == nil || slices.Contains(p.HostVersions, hostVersion))
	})
}

// Optional returns the feature that switches an entry on, nil if it is always on.
func (c *Catalogue) Optional(id string) *Feature {
	for i, f := range c.Features {
		if slices.Contains(f.Paths, id) {
			return &c.Features[i]
		}
	}
	return nil
}

// KnowsRole says whether a page or a plan knows a role.
func (c *Catalogue) KnowsRole(role string) bool { return slices.Contains(c.RoleNames(), role) }

// RoleNames lists the roles of plans and of the pages.
func (c *Catalogue) RoleNames() []string {
	var list []string
	for _, r := range c.Roles {
		list = append(list, r.ID)
	}
	return slices.Compact(slices.Sorted(slices.Values(append(list, slices.Collect(maps.Keys(c.played))...))))
}

// InZone says whether hosts with a role of the pages mostly stand in a kind of
// zone.
func (c *Catalogue) InZone(role, kind string) bool {
	return slices.ContainsFunc(c.played[role], func(p Player) bool {
		return slices.ContainsFunc(c.Roles, func(r PathRole) bool { return r.ID == p.Role && r.Zone == kind })
	})
}

// FirewallRules are the names of the rules that Setup makes on a version's
// servers.
func (c *Catalogue) FirewallRules(version string) []string {
	var names []string
	for _, d := range c.Of(version) {
		names = append(names, d.FirewallRules...)
	}
	return names
}

// CatalogueVersion is the version of the pages that a profile's version belongs
// to: 2007 for 2007-rtm.
func CatalogueVersion(version string) string {
	v, _, _ := strings.Cut(version, "-")
	return v
}
