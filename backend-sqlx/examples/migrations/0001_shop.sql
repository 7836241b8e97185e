create table orders (
    id integer primary key,
    customer text not null,
    item text not null
);
insert into orders (customer, item) values ('ada', 'tea'), ('grace', 'coffee');
