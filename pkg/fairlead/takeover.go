package fairlead

import (
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/kubeproxy"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
)

// takeOver removes what a stopped kube-proxy has left in one family, once Fairlead serves; it is nobody where the settings say not to. Event
// tells the node's operator.
func takeOver(c *config.Config, family service.Family, event func(reason, message string)) []proxier.Follower {
	if !c.TakeOver {
		return nil
	}
	excluded, err := c.IPVS.Excluded()
	if err != nil { // in iptables mode, which does not check the settings of the other
		klog.Background().Error(err, "What kube-proxy has left stays, as it is not known which virtual servers to leave alone; correct ipvs.excludeCIDRs")
		return nil
	}
	return []proxier.Follower{kubeproxy.NewTakeOver(kubeproxy.Options{Family: family, Excluded: excluded, Event: event})}
}
