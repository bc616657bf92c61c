package xtables

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
)

// Variant is one of the two kernel interfaces that the iptables programs can speak to. What is written through one is
// invisible through the other, so everybody on a node has to use the same.
type Variant string

// The variants. Auto stands for the one that the node's other programs use.
const (
	Auto   Variant = "auto"
	Legacy Variant = "legacy"
	NFT    Variant = "nft"
)

// Variants lists what a user can ask for.
var Variants = []Variant{Auto, Legacy, NFT}

// ErrNotInstalled says that there is no such variant here: its programs are not in PATH, or the kernel does not have what they need.
var ErrNotInstalled = errors.New("is not in PATH; install the package iptables")

// noNFTables is an ErrNotInstalled of a kernel without nf_tables, where the nft variant's programs do nothing but fail.
type noNFTables struct{ error }

// Error implements error.
func (e noNFTables) Error() string {
	return fmt.Sprintf("the kernel has no nf_tables, which iptables-nft needs: %v", e.error)
}

// Is reports that it is an ErrNotInstalled.
func (e noNFTables) Is(target error) bool { return target == ErrNotInstalled }

// nftUsable returns a noNFTables if that is what the answer to the question for the generation of nf_tables says (nfnetlink_rcv_msg in
// net/netfilter/nfnetlink.c: EINVAL where nobody registered for nf_tables). Other errors are those of a single question.
func nftUsable(answer error) error {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT} {
		if errors.Is(answer, errno) {
			return noNFTables{answer}
		}
	}
	return nil
}

// evidence is what speaks for a variant.
type evidence struct {
	hint  bool // kubelet uses it
	rules int
}

// detect finds the variant in use, over both families. kubelet leaves a chain for this very purpose where it writes its own
// rules (KEP-3178); where there is none, or in both, the variant with more rules is taken, and without any rule nft.
func detect(ctx context.Context) (Variant, error) {
	legacy, noLegacy := gather(ctx, Legacy)
	nft, noNFT := gather(ctx, NFT)
	switch {
	case noLegacy == nil && noNFT == nil:
		return prefer(legacy, nft), nil
	case noLegacy == nil:
		return Legacy, nil
	case noNFT == nil:
		return NFT, nil
	case errors.Is(noLegacy, ErrNotInstalled):
		return "", noNFT
	}
	return "", fmt.Errorf("neither variant of iptables works: %w; %w", noLegacy, noNFT)
}

func prefer(legacy, nft evidence) Variant {
	if legacy.hint != nft.hint && legacy.hint || legacy.hint == nft.hint && legacy.rules > nft.rules {
		return Legacy
	}
	return NFT
}

// gather looks for signs of use. It does not name a table, as that alone would make the kernel load legacy's.
func gather(ctx context.Context, v Variant) (evidence, error) {
	var e evidence
	for _, f := range []service.Family{service.IPv4, service.IPv6} {
		path, err := program(f, v, "save")
		if err != nil {
			if f == service.IPv6 {
				break
			}
			return e, err
		}
		var out, said bytes.Buffer
		if err := run(ctx, programLimit, path, nil, func(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = &out, &said }); err != nil {
			err = fmt.Errorf("%s: %w: %s", path, err, bytes.TrimSpace(said.Bytes()))
			if f == service.IPv6 { // a node may have no working IPv6 half, and use this variant for IPv4 all the same
				klog.FromContext(ctx).Info("Cannot look for IPv6 rules, going by those of IPv4", "variant", v, "reason", err)
				break
			}
			return e, err
		}
		e.add(out.Bytes())
	}
	return e, nil
}

func (e *evidence) add(saved []byte) {
	for lines := bufio.NewScanner(bytes.NewReader(saved)); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, ":KUBE-IPTABLES-HINT "), strings.HasPrefix(line, ":KUBE-KUBELET-CANARY "):
			e.hint = true
		case strings.HasPrefix(line, "-A "):
			e.rules++
		}
	}
}

// program finds one of the programs: iptables-nft-save, ip6tables-legacy-restore, and so on; no action is iptables itself.
func program(f service.Family, v Variant, action string) (string, error) {
	name := "iptables-" + string(v)
	if f == service.IPv6 {
		name = "ip6tables-" + string(v)
	}
	if action != "" {
		name += "-" + action
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s %w", name, ErrNotInstalled)
	}
	return path, nil
}
