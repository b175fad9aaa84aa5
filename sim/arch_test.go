package sim_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/exsim/exsim/scenarios"
)

const module = "github.com/exsim/exsim/"

// mayImport is who may import whom of ours; what is not listed is forbidden.
// docs/architecture.md says why.
var mayImport = map[string][]string{
	"sim/trace":    nil,
	"sim/yamlfile": nil,
	"sip/sdp":      nil,
	"smtp/sasl":    nil,
	"sim/junit":    nil,
	"sim/handed":   nil,
	"sim/quick":    nil,

	"sim/voicemail": nil,
	"sim/cdr":       {"sim/trace"},
	"sim/maillog":   {"sim/trace"},
	"sim/observe":   {"sim/profile", "sim/org", "sim/transport"},
	"sim/eventlog":  {"sim/trace", "sim/yamlfile"},

	"sim/profile": {"sim/yamlfile"},
	"sim/org":     {"sim/profile", "sim/yamlfile"},
	"sim/admit":   {"sim/trace"},
	"sim/capture": {"sim/trace"},
	"sim/store":   {"sim/trace"},
	"sim/faults":  {"sim/trace"},

	"sip":  {"sim/trace", "sim/quick", "sip/sdp"},
	"smtp": {"sim/trace", "sim/quick", "smtp/sasl"},
	"rtp":  {"sim/trace"},

	"sim/gateway":   {"sip", "sip/sdp", "rtp", "sim/trace"},
	"sim/mailhost":  {"sim/trace", "sim/handed"},
	"sim/middlebox": {"sim/faults"},
	"sim/um":        {"sim/trace", "sim/profile", "sim/org", "sip", "sip/sdp", "rtp"},
	"sim/transport": {"sim/trace", "sim/profile", "sim/org", "smtp", "smtp/sasl", "sim/store", "sim/voicemail"},
	"sim": {"sip", "sip/sdp", "smtp", "smtp/sasl", "rtp", "sim/trace", "sim/yamlfile", "sim/profile", "sim/org", "sim/admit", "sim/store", "sim/faults", "sim/um",
		"sim/transport", "sim/voicemail", "sim/speak/dns", "sim/capture"},

	"sim/speak/dns": {"sim/trace"},

	"sim/lab": {"sim/capture", "rtp", "sip", "sim", "sim/trace", "sim/profile", "sim/org", "sim/admit", "sim/faults", "sim/gateway", "sim/mailhost",
		"sim/middlebox"},
	"sim/paths":           {"sim/profile", "sim/yamlfile"},
	"sim/paths/rules":     {"sim/paths", "sim/profile"},
	"sim/paths/record":    {"sim/paths"},
	"sim/paths/ends":      {"sim/handed", "sim/paths", "sim/paths/record", "sim/admit", "sim/profile", "sim/org", "sim/transport", "sim/um", "sip", "smtp"},
	"sim/paths/integrity": {"sim/paths/record"},
	"sim/paths/truth":     {"sim/paths", "sim/paths/record", "sim/paths/integrity", "sim/junit"},

	"sim/simtest": {"sim", "sim/lab", "sim/trace", "sim/yamlfile", "sim/profile", "sim/org", "sim/gateway", "sim/voicemail", "scenarios", "scenarios/report"},

	"scenarios": {"sim/capture", "sim", "sim/lab", "sim/trace", "sim/yamlfile", "sim/profile", "sim/org", "sim/admit", "sim/store", "sim/um", "sim/transport", "sim/voicemail",
		"sim/faults", "sim/gateway", "sim/mailhost", "sim/middlebox", "sim/paths", "sim/paths/ends", "sim/paths/record", "sim/paths/truth", "sim/paths/integrity"},
	"scenarios/report": {"sim/junit", "sim/trace"},

	"cmd/exsim": {"sim/capture", "sim/cdr", "sim/maillog", "sim/store", "sim/voicemail", "sim/observe", "sim/eventlog", "sim", "sim/paths", "sim/paths/rules", "sim/paths/record", "sim/paths/ends", "sim/paths/truth", "sim/admit", "sim/trace", "sim/yamlfile", "sim/profile", "sim/org", "sim/transport", "scenarios", "scenarios/report"},
	"cmd/bench": {"rtp", "sim", "sim/admit", "sim/trace", "sim/org"},
}

// source is one Go file of ours that is no test.
type source struct {
	pkg  string // folder, below the module
	path string
	file *ast.File
	fset *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		list = append(list, source{filepath.ToSlash(filepath.Dir(strings.TrimPrefix(path, "../"))), path, f, fset})
		return err
	})
	require.NoError(t, err)
	return list
}

func TestImportTable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		allowed, ok := mayImport[s.pkg]
		require.True(t, ok, "%s: package %s is not in the import table", s.path, s.pkg)
		seen[s.pkg] = true
		for _, i := range s.file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			if own, ok := strings.CutPrefix(path, module); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s, which the table forbids", s.path, own)
			}
			if path == "testing" && s.pkg != "sim/simtest" || strings.Contains(path, "testify") {
				t.Errorf("%s imports %s outside tests", s.path, path)
			}
			if strings.HasPrefix(path, "go.yaml.in/") && s.pkg != "sim/yamlfile" {
				t.Errorf("%s: only sim/yamlfile imports the YAML library", s.path)
			}
		}
	}
	for pkg := range mayImport {
		require.True(t, seen[pkg], "the import table names %s, which is gone", pkg)
	}
}

// The protocol packages do not know whose dialect they speak: the words stand
// in data. Comments may name their reason.
func TestProtocolsKnowNoProduct(t *testing.T) {
	words := regexp.MustCompile(`(?i)exchange|microsoft|RTCC|X-MS`)
	for _, s := range sources(t) {
		if !slices.Contains([]string{"sip", "sip/sdp", "smtp", "rtp"}, s.pkg) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if words.MatchString(n.Value) {
					t.Errorf("%s: %s", s.fset.Position(n.Pos()), n.Value)
				}
			case *ast.Ident:
				if words.MatchString(n.Name) {
					t.Errorf("%s: %s", s.fset.Position(n.Pos()), n.Name)
				}
			}
			return true
		})
	}
}

// Behaviour that differs by version is a named value, never a comparison.
func TestNoVersionInCode(t *testing.T) {
	for _, s := range sources(t) {
		if !strings.HasPrefix(s.pkg, "sim") || s.pkg == "sim/org" { // which role may stand where is a rule of the version
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			b, ok := n.(*ast.BinaryExpr)
			if !ok || b.Op != token.EQL && b.Op != token.NEQ {
				return true
			}
			for _, e := range []ast.Expr{b.X, b.Y} {
				if sel, ok := e.(*ast.SelectorExpr); ok && sel.Sel.Name == "Version" {
					t.Errorf("%s compares a version", s.fset.Position(b.Pos()))
				}
			}
			return true
		})
	}
}

// Every package says what it is.
func TestPackageComments(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		documented[s.pkg] = documented[s.pkg] || s.file.Doc != nil
	}
	for pkg, ok := range documented {
		require.True(t, ok, "package %s has no comment", pkg)
	}
}

// What sim and scenarios link from outside stays small: fixtures are light.
func TestLinkedModules(t *testing.T) {
	allowed := []string{
		"github.com/emersion/go-sasl", "github.com/emersion/go-smtp", // mail
		"github.com/HdrHistogram/hdrhistogram-go",                                                                                             // percentiles of a load
		"github.com/gopacket/gopacket",                                                                                                        // captures
		"github.com/klauspost/compress",                                                                                                       // the spilled timeline
		"github.com/jcmturner/gokrb5/v8", "github.com/jcmturner/aescts/v2", "github.com/jcmturner/dnsutils/v2", "github.com/jcmturner/gofork", // Kerberos
		"github.com/jcmturner/goidentity/v6", "github.com/jcmturner/rpc/v2", "github.com/hashicorp/go-uuid",
		"golang.org/x/crypto", "software.sslmate.com/src/go-pkcs12", // PFX files
		"github.com/emiago/sipgo", "github.com/gobwas/httphead", "github.com/gobwas/pool", "github.com/gobwas/ws", "github.com/google/uuid", // SIP messages
		"github.com/pion/logging", "github.com/pion/randutil", "github.com/pion/rtcp", "github.com/pion/rtp", "github.com/pion/srtp/v3", "github.com/pion/transport/v5", // media
		"github.com/miekg/dns", "golang.org/x/net", // names of the servers
		"go.yaml.in/yaml/v4", "golang.org/x/sync", "golang.org/x/sys",
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "../sim/...", "../scenarios/...").Output()
	require.NoError(t, err)
	for _, m := range slices.Compact(slices.Sorted(slices.Values(strings.Fields(string(out))))) {
		if m != strings.TrimSuffix(module, "/") && !slices.Contains(allowed, m) {
			t.Errorf("sim and scenarios link %s", m)
		}
	}
}

// Event names and fields are a contract with scenarios. After a change on
// purpose: go run ./cmd/exsim events > sim/testdata/events.golden
func TestEventContract(t *testing.T) {
	golden, err := os.ReadFile("testdata/events.golden")
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), "go", "run", "../cmd/exsim", "events").Output()
	require.NoError(t, err)
	require.Equal(t, string(golden), string(out))
}

// Whatever a run records is in the list, with its fields.
func TestEventsAreListed(t *testing.T) {
	known := map[string][]string{}
	for _, e := range scenarios.Events() {
		for _, f := range e.Fields {
			known[e.Name] = append(known[e.Name], f.Key)
		}
		known[e.Name] = append(known[e.Name], "")
	}
	l := startLab(t, "2013", 66, "")
	placeCall(t, l)
	for e := range l.Trace().Events() {
		fields, ok := known[e.Name]
		require.True(t, ok, "event %s is not listed", e.Name)
		for _, f := range e.Fields {
			require.Contains(t, fields, f.Key, "field of %s", e.Name)
		}
	}
}

// docs/coverage.yaml holds every statement of the pages once, and the tests
// that it names exist.
func TestCoverage(t *testing.T) {
	const statements = 194
	b, err := os.ReadFile("../docs/coverage.yaml")
	require.NoError(t, err)
	var c struct {
		Pages      map[string]struct{ Title, Version, Address string }
		Statements []struct {
			N                      int
			Says, State, Why, Test string
			Pages                  []string
		}
	}
	require.NoError(t, yaml.Load(b, &c, yaml.WithKnownFields()))
	require.Len(t, c.Statements, statements)
	for i, s := range c.Statements {
		require.Equal(t, i+1, s.N)
		require.NotEmpty(t, s.Says, "statement %d", s.N)
		require.NotEmpty(t, s.Pages, "statement %d", s.N)
		for _, p := range s.Pages {
			require.NotEmpty(t, c.Pages[p].Title, "statement %d: page %s", s.N, p)
			require.NotEmpty(t, c.Pages[p].Address, "statement %d: page %s", s.N, p)
		}
		switch s.State {
		case "tested":
			requireTest(t, s.N, s.Test)
		case "no-wire", "planned", "catalogued":
			require.NotEmpty(t, s.Why, "statement %d", s.N)
		default:
			t.Errorf("statement %d has the state %q", s.N, s.State)
		}
	}
}

// requireTest finds FOLDER:TestName.
func requireTest(t *testing.T, n int, name string) {
	t.Helper()
	dir, test, ok := strings.Cut(name, ":")
	require.True(t, ok, "statement %d: test %q is not FOLDER:TestName", n, name)
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		if strings.Contains(string(b), "\nfunc "+test+"(") {
			return
		}
	}
	t.Errorf("statement %d: there is no test %s", n, name)
}
