create table seas (name text primary key);
insert into seas values ('Coral Sea'), ('North Sea'), ('Wadden Sea');
