package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exsim/exsim/sim/admit"
)

// pki are the flags that all its commands share.
type pki struct{ dir string }

func pkiCommand() *cobra.Command {
	p := &pki{}
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "The lab's certificate authority: issue, sign, import, export, and every kind of bad certificate",
		Long: `The authority lies in a folder. An organisation uses it by
  tls: {authority: FOLDER}
and then shows certificates of it, and takes those of devices. Private keys are
readable by their owner alone.`,
		Example: `  exsim pki init
  exsim pki export > ca.pem                    # for the device's trust store
  exsim pki issue gw1.contoso.lab              # certificate and key for a device
  exsim pki sign device.csr                    # or: the device has made its own key
  exsim pki bad gw1.contoso.lab                # eleven, each wrong in one way: with the default policy sha1 and rsa-1024 warn, cn-only is taken`,
	}
	cmd.Args, cmd.RunE = cobra.ArbitraryArgs, func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return input(fmt.Errorf("pki has no command %q; exsim pki --help", args[0]))
		}
		return cmd.Help()
	}
	cmd.PersistentFlags().StringVar(&p.dir, "dir", "exsim-pki", "`FOLDER` of the authority")
	cmd.AddCommand(p.initCommand(), p.issueCommand(), p.signCommand(), p.badCommand(), p.revokeCommand(), p.importCommand(), p.exportCommand())
	return cmd
}

// open reads the authority of the folder.
func (p *pki) open() (*admit.Authority, error) {
	a, err := admit.OpenAuthority(p.dir)
	if err != nil {
		return nil, input(err)
	}
	return a, nil
}

// openWith reads a file besides.
func (p *pki) openWith(file string) (*admit.Authority, []byte, error) {
	a, err := p.open()
	if err != nil {
		return nil, nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, input(err)
	}
	return a, text, nil
}

func (p *pki) initCommand() *cobra.Command {
	return &cobra.Command{
		Use: "init", Short: "Make an authority", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := admit.CreateAuthority(p.dir); err != nil {
				return input(err)
			}
			dir, err := filepath.Abs(p.dir) // the organisation may lie elsewhere
			if err != nil {
				return bench(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: give it to every device's trust store\nin the organisation: tls: {authority: %s}\n", filepath.Join(p.dir, "ca.pem"), dir)
			return nil
		},
	}
}

func (p *pki) issueCommand() *cobra.Command {
	var addrs []string
	var r admit.Request
	var replace bool
	cmd := &cobra.Command{
		Use: "issue NAME...", Short: "Issue a certificate with a key; the first name is the subject", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			a, err := p.open()
			if err != nil {
				return err
			}
			r.Names = names
			for _, s := range addrs {
				ip, err := netip.ParseAddr(s)
				if err != nil {
					return input(fmt.Errorf("--address %q is no IP address", s))
				}
				r.Addrs = append(r.Addrs, ip)
			}
			c, err := a.Issue(r)
			if err != nil {
				return bench(err)
			}
			return told(cmd)(a.Keep(names[0], c, replace))
		},
	}
	cmd.Flags().StringSliceVar(&addrs, "address", nil, "IP `ADDRESS` that the certificate names, too")
	cmd.Flags().BoolVar(&replace, "replace", false, "write over a certificate of that name")
	cmd.Flags().BoolVar(&r.RSA, "rsa", false, "a key of RSA 2048 in place of ECDSA P-256")
	return cmd
}

// told prints the file that was written.
func told(cmd *cobra.Command) func(path string, err error) error {
	return func(path string, err error) error {
		if err != nil {
			return input(err)
		}
		fmt.Fprintln(cmd.OutOrStdout(), path)
		return nil
	}
}

func (p *pki) signCommand() *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use: "sign CSR", Short: "Sign the certificate request of a device (PEM)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, text, err := p.openWith(args[0])
			if err != nil {
				return err
			}
			c, err := a.SignRequest(text, names)
			if err != nil {
				return input(fmt.Errorf("%s: %w", args[0], err))
			}
			held := admit.Names(c)
			if len(held) == 0 {
				return input(fmt.Errorf("%s names nobody; give --name with the fqdn of the gateway object", args[0]))
			}
			return told(cmd)(a.KeepCertificate(held[0], c))
		},
	}
	cmd.Flags().StringSliceVar(&names, "name", nil, "`NAME` of the certificate in place of those in the request; the first is the subject")
	return cmd
}

func (p *pki) badCommand() *cobra.Command {
	var kinds []string
	cmd := &cobra.Command{
		Use: "bad NAME...", Short: "Make certificates that are wrong in one way each", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			a, err := p.open()
			if err != nil {
				return err
			}
			if len(kinds) == 0 {
				for _, b := range admit.Bads() {
					kinds = append(kinds, string(b))
				}
			}
			for _, k := range kinds {
				c, err := a.IssueBad(admit.Bad(k), admit.Request{Names: names})
				if err != nil {
					return input(err)
				}
				if err := told(cmd)(a.Keep(names[0]+"-"+k, c, true)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	var all []string
	for _, b := range admit.Bads() {
		all = append(all, string(b))
	}
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, "only `KIND`: "+strings.Join(all, ", "))
	return cmd
}

func (p *pki) revokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke FILE", Short: "Put a certificate on the revocation list; an exsim that runs refuses it at its next connection", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, text, err := p.openWith(args[0])
			if err != nil {
				return err
			}
			block, _ := pem.Decode(text)
			if block == nil || block.Type != "CERTIFICATE" {
				return input(fmt.Errorf("%s holds no certificate in PEM", args[0]))
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return input(fmt.Errorf("%s: %w", args[0], err))
			}
			if err := a.Revoke(c); err != nil {
				return input(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: revoked %s (serial %s)\n", filepath.Join(p.dir, "crl.pem"), c.Subject, c.SerialNumber.Text(16))
			return nil
		},
	}
}

// password reads a password from a file, so that no command line shows it.
func password(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", input(err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func (p *pki) importCommand() *cobra.Command {
	var secret string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take in a PEM or PFX file: an authority, a certificate with its key, a revocation list",
		Long: `An authority with its key becomes that of a new folder. An authority without
its key, the very certificate of one device, and a revocation list are trusted
beside the lab's (PEM or DER). A certificate with its key is shown by the server
whose fqdn is its common name; the key is in the same file, or beside it as
NAME.key. So a server of ours shows a certificate of pki bad.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			content, err := withKey(args[0])
			if err != nil {
				return input(err)
			}
			word, err := password(secret)
			if err != nil {
				return err
			}
			done, err := admit.Import(p.dir, args[0], content, word)
			if err != nil {
				return input(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", done.What, done.File)
			return nil
		},
	}
	cmd.Flags().StringVar(&secret, "password-file", "", "`FILE` with the password of a PFX")
	return cmd
}

// withKey reads a file, and the key that lies beside a certificate in PEM.
func withKey(name string) ([]byte, error) {
	content, err := os.ReadFile(name)
	if err != nil || !bytes.Contains(content, []byte("BEGIN CERTIFICATE-----")) || bytes.Contains(content, []byte("PRIVATE KEY-----")) {
		return content, err
	}
	key, err := os.ReadFile(strings.TrimSuffix(name, filepath.Ext(name)) + ".key")
	if errors.Is(err, os.ErrNotExist) {
		return content, nil
	}
	return append(append(content, '\n'), key...), err
}

func (p *pki) exportCommand() *cobra.Command {
	var out, secret string
	cmd := &cobra.Command{
		Use:   "export [NAME]",
		Short: "Print the authority's certificate, or write the certificate NAME with its key as PFX",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := p.open()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				_, err := cmd.OutOrStdout().Write(a.PEM())
				return err
			}
			if out == "" || secret == "" {
				return input(errors.New("a certificate with its key leaves in a PFX: give --pfx FILE and --password-file FILE"))
			}
			c, found, err := a.Kept(args[0])
			if err != nil {
				return input(err)
			}
			if !found {
				return input(fmt.Errorf("%s keeps no certificate %s with its key; see %s", p.dir, args[0], filepath.Join(p.dir, "certs")))
			}
			word, err := password(secret)
			if err != nil {
				return err
			}
			if word == "" {
				return input(fmt.Errorf("%s is empty: a PFX with a private key needs a password", secret))
			}
			content, err := admit.PFX(c, word)
			if err != nil {
				return bench(err)
			}
			_ = os.Remove(out) // what was there may be readable by others
			return told(cmd)(out, os.WriteFile(out, content, 0o600))
		},
	}
	cmd.Flags().StringVar(&out, "pfx", "", "`FILE` to write")
	cmd.Flags().StringVar(&secret, "password-file", "", "`FILE` with the password that the PFX gets")
	return cmd
}
