package fairlead

import (
	"os"
	"strconv"

	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
)

// setOOMScoreAdj sets the oom_score_adj of this process. A value below the one that the container runtime has set needs
// CAP_SYS_RESOURCE, which Fairlead does not require, so a failure is only logged at a higher verbosity.
func setOOMScoreAdj(logger klog.Logger, c *config.Config) {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(c.OOMScoreAdj)), 0); err != nil {
		logger.V(2).Info("Cannot set oom_score_adj", "setting", c.Named("oom-score-adj"), "value", c.OOMScoreAdj, "reason", err)
	}
}
