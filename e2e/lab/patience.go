package lab

import (
	"cmp"
	"os"
	"strconv"
	"time"
)

// Patience is how long to wait for what takes at most so long on a machine
// that is not emulated. FAIRLEAD_PATIENCE is the factor for the machine that
// the tests run on, 1 by default.
func Patience(atMost time.Duration) time.Duration { return patience * atMost }

var patience = readPatience()

func readPatience() time.Duration {
	factor, err := strconv.Atoi(cmp.Or(os.Getenv("FAIRLEAD_PATIENCE"), "1"))
	if err != nil {
		panic("FAIRLEAD_PATIENCE: " + err.Error())
	}
	return time.Duration(factor)
}

// AnswerTimeout is how long an answer that must come is waited for. It only
// ends a test that fails: whether a packet was lost is counted (Answer.Resent).
var AnswerTimeout = Patience(30 * time.Second)

// AttemptTimeout is for one of many attempts, where what is asked for may not
// be there yet. A packet that arrives too early must not be waited for: the
// kernel may have noted its flow as untranslated, and resent packets share
// that fate.
var AttemptTimeout = Patience(2500 * time.Millisecond)

// Silence is how long nothing must come where no answer is expected. TCP sends
// a second packet meanwhile, after one second.
const Silence = 2500 * time.Millisecond
