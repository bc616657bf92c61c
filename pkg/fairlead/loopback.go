package fairlead

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// allowLoopback lets packets from 127.0.0.1 leave the node, which node ports on that address need (route_localnet). By itself that also
// lets neighbors in to 127.0.0.0/8 (CVE-2020-8558), so a rule against it is added first. Its chain is also the record that Fairlead has
// set route_localnet, for forbidLoopback: both last until the node reboots, whatever becomes of the process. Where route_localnet was set
// already, there is no chain.
func allowLoopback(ctx context.Context, variant xtables.Variant) error {
	if set, err := node.LoopbackRouting(); err != nil || set {
		return err
	}
	if err := node.CanAllowLoopbackRouting(); err != nil {
		return err
	}
	ctx = klog.NewContext(ctx, logr.Discard()) // the backend logs which iptables programs it uses
	rules := guard(variant)
	w := xtables.NewChain(guardChain)
	w.Rule("-d 127.0.0.0/8 ! -i lo -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP")
	if err := rules.Replace(ctx, map[string][]xtables.Chain{"filter": {w.Chain}}); err != nil {
		return fmt.Errorf("add the rule that protects 127.0.0.0/8 from the network: %w", err)
	}
	if err := node.AllowLoopbackRouting(); err != nil {
		return errors.Join(err, removeGuard(ctx))
	}
	return nil
}

// forbidLoopback unsets route_localnet if Fairlead has set it, and removes the chain of allowLoopback. Without the chain it is not known
// who has set it, and where the rules of a kube-proxy are in place, that one needs it: then it stays, which is logged.
func forbidLoopback(ctx context.Context) error {
	set, err := node.LoopbackRouting()
	if err != nil {
		return errors.Join(err, removeGuard(ctx))
	}
	const stays = "net.ipv4.conf.all.route_localnet stays 1; set it to 0 if no program on this node needs it, since neighbors can reach services on 127.0.0.1 unless a rule drops their packets (CVE-2020-8558)"
	logger := klog.FromContext(ctx)
	switch {
	case !set:
	case !hasChain(ctx, "filter", guardChain):
		logger.Info(stays, "reason", "it is not known to have been set by Fairlead")
	case hasChain(ctx, "nat", kubeProxyChain):
		logger.Info(stays, "reason", "the rules of a kube-proxy are on this node")
	default:
		if err := node.ForbidLoopbackRouting(); err != nil {
			return fmt.Errorf("set route_localnet back: %w, or run the cleanup in a privileged container; until then the chain %s stays, which protects 127.0.0.0/8 from the network", err, guardChain)
		}
		logger.Info("Set net.ipv4.conf.all.route_localnet to 0, as it was before Fairlead")
	}
	return removeGuard(ctx)
}

// kubeProxyChain is a chain of kube-proxy's in all modes that use iptables.
const kubeProxyChain = "KUBE-SERVICES"

// hasChain reports whether a chain exists in one of the variants of iptables. Where the rules cannot be read, it does not.
func hasChain(ctx context.Context, table, name string) bool {
	quiet := klog.NewContext(ctx, logr.Discard())
	for _, variant := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
		rules := xtables.New(xtables.Options{Family: service.IPv4, Variant: variant, Owner: xtables.Owner{
			Prefix: name,
			Ours:   func(chain string) bool { return chain == name },
		}})
		if err := rules.Read(quiet); err == nil && slices.Contains(rules.Held(table), name) {
			return true
		}
	}
	return false
}

// guardChain is the chain of allowLoopback. It stays until Cleanup.
const guardChain = guardPrefix + "LOOPBACK"

const guardPrefix = "FLI-"

func guard(variant xtables.Variant) *xtables.Ruleset {
	return xtables.New(xtables.Options{Family: service.IPv4, Variant: variant, Owner: xtables.Owner{
		Prefix: guardPrefix,
		Ours:   func(name string) bool { return name == guardChain },
		Jumps:  []xtables.Jump{{Table: "filter", From: "INPUT", To: guardChain}},
	}})
}

// removeGuard removes the chain of allowLoopback.
func removeGuard(ctx context.Context) error {
	if err := guard(xtables.Auto).Remove(ctx); err != nil {
		return fmt.Errorf("remove the rule that protects 127.0.0.0/8: %w", err)
	}
	return nil
}
