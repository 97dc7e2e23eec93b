"""Everything HTML: the pages of a leaderboard, which need no server and no outside address."""
