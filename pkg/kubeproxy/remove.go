package kubeproxy

import (
	"context"
	"errors"
	"net/netip"

	"github.com/fairlead/fairlead/pkg/service"
)

// Standing reports whether a kube-proxy has left anything in a family, in any of its modes, that Remove and Retire remove.
func Standing(ctx context.Context, family service.Family, excluded []netip.Prefix) (bool, error) {
	if stands, err := tableStands(family); err != nil || stands {
		return stands, err
	}
	b, err := readBalancer(family, excluded, nil)
	if err != nil || b != nil {
		return b != nil, err
	}
	return rulesStand(ctx, family)
}

// Remove removes all that a kube-proxy has left in a family, in any of its modes, at once: connections that stand through its virtual
// servers break, those through its rules do not. It keeps chains that others' rules need, and fails with ErrForeign then.
// Virtual servers at excluded addresses stay.
func Remove(ctx context.Context, family service.Family, excluded []netip.Prefix) error {
	failed := []error{removeTable(family)}
	b, err := readBalancer(family, excluded, nil)
	failed = append(failed, err)
	if b != nil {
		failed = append(failed, b.remove())
	}
	return errors.Join(append(failed, removeRulesAndSets(ctx, family))...)
}

// Retire does the same, but that virtual servers stay, out of service, as long as they have connections, with what those need. It is
// to be called again until nothing is left. It does not touch virtual servers that Fairlead serves: a kube-proxy that syncs beside
// Fairlead takes the mark from them by which they are known, until Fairlead's next verification restores it.
func Retire(ctx context.Context, family service.Family, excluded []netip.Prefix, served Served) (left int, err error) {
	if err := removeTable(family); err != nil {
		return 0, err
	}
	b, err := readBalancer(family, excluded, served)
	if err != nil {
		return 0, err
	}
	if b != nil {
		if left, err = b.drain(); err != nil || left > 0 {
			return left, err
		}
	}
	return 0, removeRulesAndSets(ctx, family)
}

// removeRulesAndSets begins with the rules: the kernel keeps a set as long as one asks it.
func removeRulesAndSets(ctx context.Context, family service.Family) error {
	rules := removeRules(ctx, family)
	return errors.Join(rules, removeSets(family, errors.Is(rules, ErrForeign)))
}
