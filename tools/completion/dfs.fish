# fish completion for dfs. In config.fish:  dfs completion fish | source

function __dfs_commands
  dfs --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  *\(.*\)/\1\t\2/p'
end

function __dfs_options
  set -l words (commandline -opc)
  dfs $words[2] --help 2>/dev/null | grep -oE -- '(^|[ ,])--?[a-z0-9][a-z0-9-]*' | tr -d ' ,'
end

function __dfs_names
  set -l directory (string match -r '.*/' -- (commandline -ct))
  set -l where $directory
  test -z "$where"; and set where .
  set -l search dfs find $where --no-glob --mindepth 1 --maxdepth 1 --timeout 2s
  $search -type d 2>/dev/null | sed "s|.*/|$directory|; s|\$|/|"
  $search -type f,l,p,s 2>/dev/null | sed "s|.*/|$directory|"
end

complete -c dfs -f
complete -c dfs -n __fish_use_subcommand -a '(__dfs_commands)'
complete -c dfs -n 'not __fish_use_subcommand; and string match -q -- "-*" (commandline -ct)' -a '(__dfs_options)'
complete -c dfs -n '__fish_seen_subcommand_from put append get' -F
complete -c dfs -n '__fish_seen_subcommand_from mount umount' -a '(__fish_complete_directories)'
complete -c dfs -n '__fish_seen_subcommand_from dev' -a 'start status stop destroy kill pause resume revive'
complete -c dfs -n '__fish_seen_subcommand_from datanode' -a 'list decommission maintenance recommission release-deletions'
complete -c dfs -n '__fish_seen_subcommand_from admin' -a 'export import' -F
complete -c dfs -n '__fish_seen_subcommand_from trash' -a 'empty'
complete -c dfs -n 'not __fish_use_subcommand; and not __fish_seen_subcommand_from dev admin datanode trash mount umount bench help completion status df' -a '(__dfs_names)'
