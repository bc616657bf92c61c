package fairlead

import (
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/kubeproxy"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
)

// takeOver returns the post-sync hook that removes what a stopped kube-proxy has left in one family, or nothing if it is turned off.
// event sends an event about the node, and mode returns the mode in force.
func takeOver(c *config.Settings, family service.Family, event func(reason, message string), mode func() string) []proxier.Follower {
	if !c.TakeOver {
		return nil
	}
	if c.ExcludedErr != nil {
		klog.Background().Error(c.ExcludedErr, "Not removing what kube-proxy has left, as the virtual servers to keep are not known; correct the ranges", "setting", c.Named("ipvs-exclude-cidrs"))
		return nil
	}
	return []proxier.Follower{kubeproxy.NewTakeOver(kubeproxy.Options{
		Family:     family,
		Excluded:   c.Excluded,
		InIPVSMode: func() bool { return mode() == string(config.ModeIPVS) },
		Event:      event,
	})}
}
