package fairlead

import (
	"os"
	"strconv"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
)

// spareFromOOM tells the kernel how much to spare this process when memory runs out. To ask for more than the container's runtime has
// given takes CAP_SYS_RESOURCE, which Fairlead can do without; so it is not worth more than a word to who asks for it.
func spareFromOOM(logger klog.Logger, c *config.Config) {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(c.OOMScoreAdj)), 0); err != nil {
		logger.V(2).Info("Left as it is: how much the kernel spares Fairlead when memory runs out", "setting", c.Named("oom-score-adj"), "value", c.OOMScoreAdj, "reason", err)
	}
}
