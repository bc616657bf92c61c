package differential

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service"
)

// xtables runs programs on a node such that iptables is its legacy variant, with a lock of its own.
type xtables struct {
	node        *lab.Host
	environment []string
}

// newXtables makes links to the programs of the legacy variant, under the names that kube-proxy looks for.
func newXtables(node *lab.Host, dir string) (xtables, error) {
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		return xtables{}, fmt.Errorf("make a folder for iptables: %w", err)
	}
	if err := site.LinkIPTables(bin, "legacy"); err != nil {
		return xtables{}, fmt.Errorf("find iptables (get it by: hack/install.sh iptables): %w", err)
	}
	return xtables{node: node, environment: []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "XTABLES_LOCKFILE=" + filepath.Join(dir, "xtables.lock"),
	}}, nil
}

// start starts a program.
func (x xtables) start(log io.Writer, command ...string) (*lab.Process, error) {
	return x.node.StartProcess("env", append(x.environment, command...), log)
}

// save prints the rules of a family.
func (x xtables) save(ctx context.Context, family service.Family) (string, error) {
	return x.node.Output(ctx, "env", append(x.environment, program(family)+"-save")...)
}

// flush takes all rules and chains of both families away.
func (x xtables) flush() error {
	for _, family := range families {
		cmd := x.node.Command(context.Background(), "env", append(x.environment, program(family)+"-restore", "-w")...)
		cmd.Stdin = strings.NewReader("*filter\nCOMMIT\n*nat\nCOMMIT\n*mangle\nCOMMIT\n")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := x.node.Run(cmd); err != nil {
			return fmt.Errorf("flush the rules: %w: %s", err, stderr.String())
		}
	}
	return nil
}

func program(family service.Family) string {
	if family == service.IPv6 {
		return "ip6tables"
	}
	return "iptables"
}
