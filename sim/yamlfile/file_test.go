package yamlfile

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type model struct {
	Pos     Pos
	Version int             `yaml:"version,required"`
	Name    string          `yaml:"name,required"`
	Ext     string          `yaml:"ext"`
	Within  time.Duration   `yaml:"within"`
	Addr    netip.Addr      `yaml:"addr"`
	Ports   []uint16        `yaml:"ports"`
	Flags   map[string]bool `yaml:"flags"`
	Sub     *struct {
		Rate float64 `yaml:"rate"`
	} `yaml:"sub"`
	Any Value `yaml:"any"`
}

func TestLoad(t *testing.T) {
	var m model
	_, err := Load("ok.yaml", []byte(`version: 1
name: no
ext: 0401
within: 1m30s
addr: 127.0.0.9
ports: [5060, 5061]
flags: {a: true}
sub: {rate: 0.5}
any: [x, {y: z}]
`), &m)
	require.NoError(t, err)
	require.Equal(t, "no", m.Name)
	require.Equal(t, "0401", m.Ext)
	require.Equal(t, 90*time.Second, m.Within)
	require.Equal(t, netip.MustParseAddr("127.0.0.9"), m.Addr)
	require.Equal(t, []uint16{5060, 5061}, m.Ports)
	require.Equal(t, 0.5, m.Sub.Rate)
	require.Equal(t, Pos{1, 1}, m.Pos)
	require.Equal(t, "z", m.Any.Items[1].Pairs[0].Value.Text)
}

// Every mistake is told at once, each with its place and caret.
func TestEveryMistakeAtOnce(t *testing.T) {
	var m model
	_, err := Load("bad.yaml", []byte(`version: one
naem: x
within: soon
addr: 1.2.3
ports: [70000, x]
flags: [a]
sub: {rate: fast}
`), &m)
	want := []string{
		"bad.yaml:1:1: key \"name\" is missing",
		"bad.yaml:1:10: version: wants a whole number, got \"one\"",
		"bad.yaml:2:1: unknown key \"naem\"\n    naem: x\n    ^\n    did you mean \"name\"?",
		"bad.yaml:3:9: within: \"soon\" is no span of time",
		"bad.yaml:4:7: addr: ParseAddr",
		"bad.yaml:5:9: ports: wants a whole number from 0 to 65535",
		"bad.yaml:5:16: ports: wants a whole number",
		"bad.yaml:6:8: flags: wants a mapping, got a list",
		"bad.yaml:7:13: rate: wants a number",
	}
	var all Errors
	require.ErrorAs(t, err, &all)
	require.Len(t, all, len(want))
	for i, e := range all {
		require.Contains(t, e.Error(), want[i])
	}
	_, err = Load("bad.yaml", []byte("version: 1\nversion: 2\n"), &m)
	require.ErrorContains(t, err, "bad.yaml:2:1: key \"version\" stands twice")
}

func TestSyntaxErrors(t *testing.T) {
	for _, data := range []string{"", "a: [1\nb: 2", "a:\n\tb: 1", "{{{", "a: *x", "a: &b 1\nc: *b", "\xff\xfe", "- a\n- b"} {
		var m model
		_, err := Load("x.yaml", []byte(data), &m)
		require.Error(t, err, "%q", data)
		require.ErrorContains(t, err, "x.yaml")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("version: 1\nname: x\nports: [1]\nany: {a: [b]}"))
	f.Add([]byte("a: &x [*x]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var m model
		file, err := Load("x.yaml", data, &m)
		if err != nil && len(file.errs) == 0 {
			t.Fatal("an error without a place")
		}
	})
}
