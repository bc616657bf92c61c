package proxier

import (
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/service"
)

// maxProblems is how many problems are logged at one build. Whoever writes objects decides how many there are.
const maxProblems = 50

// logProblems logs what cannot be served, and how many more objects have problems that are not logged.
func logProblems(logger klog.Logger, problems []service.Problem) {
	shown := problems[:min(len(problems), maxProblems)]
	for _, problem := range shown {
		logger.Info("Cannot serve all of an object", "object", problem.Object, "problem", problem.What, "mend", problem.Mend)
	}
	more := map[string]struct{}{}
	for _, problem := range problems[len(shown):] {
		more[problem.Object] = struct{}{}
	}
	if len(more) > 0 {
		logger.Info("Cannot serve all of more objects", "objects", len(more), "problems", len(problems)-len(shown), "mend", "correct those that are named first")
	}
}
